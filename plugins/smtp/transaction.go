package smtp

import (
	"context"
	"strconv"

	"github.com/passmend/passmend/plugins/sdk"
)

// reply is what the server said to the final dot.
type reply struct {
	code int
	text string
}

// command is one line to the server and the beginning of the code that it hopes
// for in return.
type command struct {
	stage stage
	line  string
	wants int
}

// send hands one message over. go-mail v0.8.1 says one command at a time, so the
// transaction is spoken here, over the textproto.Conn that its client shares for
// extensions: with PIPELINING (RFC 2920) RSET, MAIL, RCPT and DATA are one write
// and their replies mostly one read, where it were four of each.
func (c *conn) send(ctx context.Context, m *message, t *timer) (reply, error) {
	defer t.step("data")()
	defer c.bind(ctx)()
	if err := c.fits(m); err != nil {
		return reply{}, err
	}
	if err := c.begin(c.envelope(m)); err != nil {
		return reply{}, err
	}
	if err := c.write(m.data); err != nil {
		return reply{}, err
	}
	// The final dot is written. From here on the server may have taken the message
	// whatever becomes of its reply.
	code, text, err := c.client.Text.ReadResponse(250)
	if err != nil {
		return reply{}, c.at(stageEnd, err)
	}
	return reply{code, text}, nil
}

// envelope lists what leads up to the message. A connection that was used before
// begins with RSET: it forgets whatever the last message left behind, and tells
// whether the server is still there.
func (c *conn) envelope(m *message) []command {
	mail := "MAIL FROM:<" + m.from + ">"
	if c.offers("8BITMIME") {
		mail += " BODY=8BITMIME"
	}
	if m.needsUTF8() {
		// Only then: a relay behind the server may not have it.
		mail += " SMTPUTF8"
	}
	var commands []command
	if c.used {
		commands = append(commands, command{stageReset, "RSET", 250})
	}
	c.used = true
	return append(commands,
		command{stageMail, mail, 250},
		command{stageRcpt, "RCPT TO:<" + m.to + ">", 25},
		command{stageData, "DATA", 354},
	)
}

// begin says the commands, at once or one by one, and gives the first refusal.
func (c *conn) begin(commands []command) error {
	if c.offers("PIPELINING") {
		return c.exchange(commands)
	}
	for i := range commands {
		if err := c.exchange(commands[i : i+1]); err != nil {
			return err
		}
	}
	return nil
}

// exchange writes commands together and reads a reply to each.
func (c *conn) exchange(commands []command) (refused error) {
	text := c.client.Text
	for _, command := range commands {
		_, _ = text.W.WriteString(command.line + "\r\n") // Flush tells of it
	}
	if err := text.W.Flush(); err != nil {
		return c.at(commands[0].stage, err)
	}
	for _, command := range commands {
		_, _, err := text.ReadResponse(command.wants)
		if err != nil {
			err = c.at(command.stage, err)
			if refused == nil {
				refused = err
			}
		} else if refused != nil && command.stage == stageData {
			// It waits for a message in spite of its refusal (RFC 2920, 3.1). Hanging
			// up is the one answer that surely delivers nothing.
			c.broken = true
		}
		if c.broken {
			return refused
		}
	}
	return refused
}

// write writes the message and its final dot, in one piece. Unless every byte of
// it was handed over, the server cannot have taken the message.
func (c *conn) write(data []byte) error {
	w := c.client.Text.W
	n, err := w.Write(data)
	if err == nil {
		err = w.Flush()
	}
	if err == nil {
		return nil
	}
	if n < len(data) || w.Buffered() > 0 {
		return c.at(stageBody, err)
	}
	return c.at(stageEnd, err)
}

// fits holds the message against what the server announced.
func (c *conn) fits(m *message) error {
	if m.needsUTF8() && !c.offers("SMTPUTF8") {
		if !isASCII(m.to) {
			return &sdk.Failure{
				Kind:   sdk.RecipientRefused,
				Public: "the recipient's address needs SMTPUTF8, which the mail server does not offer",
			}
		}
		return &sdk.Failure{
			Kind:   sdk.Misconfigured,
			Public: "the sender's or the reply address needs SMTPUTF8, which the mail server does not offer",
		}
	}
	_, size := c.client.Extension("SIZE")
	if limit, err := strconv.Atoi(size); err == nil && limit > 0 && len(m.data) > limit {
		return &sdk.Failure{Kind: sdk.ContentRefused, Public: "the message is larger than the mail server takes"}
	}
	return nil
}

func (c *conn) offers(extension string) bool {
	offered, _ := c.client.Extension(extension)
	return offered
}

// at names the stage of err and notes whether the connection survived it: a reply
// leaves it in step, anything else does not, and 421 announces its end. A server
// that refuses RSET is not one to keep connections to.
func (c *conn) at(stage stage, err error) error {
	if code := replyCode(err); code == 0 || code == 421 || stage == stageReset {
		c.broken = true
	}
	return &stageError{stage: stage, err: err}
}
