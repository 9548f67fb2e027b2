package smtp

import (
	"slices"
	"time"

	"github.com/passmend/passmend/plugins/sdk"
)

// bucket is what one server has with one set of credentials: how many connections
// may be open and are in use, who waits for one, and the idle ones, oldest first.
// The pool's lock guards it.
//
// Who waits is served by turns of the senders and, within one, in the order of
// coming: a sender with a thousand messages under way puts off another's by one
// message. A provider is not told the account; the sender's name and address are
// the nearest to it.
type bucket struct {
	limit   int
	lowered time.Time // when the server last refused, or the limit grew again
	inUse   int
	turns   []*turn // the next one first
	idle    []*idleConn
	taken   func(*idleConn) // told when an idle one is handed out
}

// turn is one sender who waits, with a place for each of the messages.
type turn struct {
	sender sdk.Mailbox
	places []chan *conn
}

// allow follows the setting, unless the server is known to take fewer. A quarter
// more is tried each time it has not refused for so long.
func (b *bucket) allow(most int, growAfter time.Duration) {
	switch {
	case b.lowered.IsZero() || b.limit > most:
		b.limit = most
	case time.Since(b.lowered) >= growAfter:
		b.limit = min(most, b.limit+b.limit/4+1)
		b.lowered = time.Now()
	}
	b.serve()
}

// ask gives a place that yields once, when its turn has come: the connection that
// was used last, or nil where none is idle.
func (b *bucket) ask(sender sdk.Mailbox) chan *conn {
	place := make(chan *conn, 1)
	i := slices.IndexFunc(b.turns, func(t *turn) bool { return t.sender == sender })
	if i < 0 {
		i = len(b.turns)
		b.turns = append(b.turns, &turn{sender: sender})
	}
	b.turns[i].places = append(b.turns[i].places, place)
	b.serve()
	return place
}

// serve gives free slots to those whose turn it is, each with its connection at
// once: who is in use then has one or is making one, which is what lower counts.
func (b *bucket) serve() {
	for b.inUse < b.limit && len(b.turns) > 0 {
		first := b.turns[0]
		b.turns = b.turns[1:]
		first.places[0] <- b.take()
		if first.places = first.places[1:]; len(first.places) > 0 {
			b.turns = append(b.turns, first)
		}
		b.inUse++
	}
}

// take gives the connection that was used last, or nil.
func (b *bucket) take() *conn {
	last := len(b.idle) - 1
	if last < 0 {
		return nil
	}
	kept := b.idle[last]
	b.idle = b.idle[:last]
	b.taken(kept)
	return kept.conn
}

// withdraw takes back what ask gave, and tells whether its turn had not come.
func (b *bucket) withdraw(sender sdk.Mailbox, place chan *conn) bool {
	i := slices.IndexFunc(b.turns, func(t *turn) bool { return t.sender == sender })
	if i < 0 {
		return false
	}
	t := b.turns[i]
	at := slices.Index(t.places, place)
	if at < 0 {
		return false
	}
	if t.places = slices.Delete(t.places, at, at+1); len(t.places) == 0 {
		b.turns = slices.Delete(b.turns, i, i+1)
	}
	return true
}

// giveBack ends the use of one slot.
func (b *bucket) giveBack() {
	b.inUse--
	b.serve()
}

// lower leaves the server with the connections that it has beside the one that it
// refused, at least one. Where there are any it ends the use of the slot, in the
// same step, or the next one refused would count it, and tells so.
func (b *bucket) lower() bool {
	open := b.inUse - 1 + len(b.idle)
	b.limit = max(1, min(b.limit, open))
	b.lowered = time.Now()
	if open == 0 {
		return false
	}
	b.giveBack()
	return true
}

func (b *bucket) empty() bool {
	return b.inUse == 0 && len(b.turns) == 0 && len(b.idle) == 0
}
