package canary

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/cmd/passmend/webform"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

// callTime bounds one call, maxPage what is read of its answer.
const (
	callTime = 10 * time.Second
	maxPage  = 1 << 20
)

// visit is one person's way with a browser, cookies and all.
type visit struct {
	c       *Canary
	account tenants.Account
	client  *http.Client
}

func (c *Canary) newVisit(account tenants.Account) (*visit, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	v := &visit{c: c, account: account}
	v.client = &http.Client{Jar: jar, Timeout: callTime, Transport: c.transport(), CheckRedirect: v.stay}
	return v, nil
}

func (v *visit) end() { v.client.CloseIdleConnections() }

var errElsewhere = errors.New("it leads to another site")

// stay follows redirects within this service only.
func (v *visit) stay(request *http.Request, before []*http.Request) error {
	if request.URL.Host != v.c.c.Base.Host || request.URL.Scheme != v.c.c.Base.Scheme {
		return errElsewhere
	}
	if len(before) > 5 {
		return errors.New("it redirects in a circle")
	}
	return nil
}

// transport connects as a browser would or, with Via, as the proxy in front does:
// without TLS, for the same host name.
func (c *Canary) transport() *http.Transport {
	transport := &http.Transport{TLSHandshakeTimeout: callTime, ResponseHeaderTimeout: callTime, MaxIdleConns: 2}
	if c.c.Via == "" {
		return transport
	}
	var dialer net.Dialer
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, c.c.Via)
	}
	transport.DialContext, transport.DialTLSContext = dial, dial
	return transport
}

// do sends a request and gives status, body and where redirects ended.
func (v *visit) do(request *http.Request) (int, []byte, *url.URL, error) {
	request.Header.Set("User-Agent", "passmend-canary")
	response, err := v.client.Do(request)
	if err != nil {
		if failed := new(url.Error); errors.As(err, &failed) {
			err = failed.Err // without the address, which holds the token
		}
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	return response.StatusCode, body, response.Request.URL, err
}

func (v *visit) ask(ctx context.Context, address string) error {
	stall := func(reason string, cause error) error { return &stalled{stageAccepted, reason, cause} }
	body, err := json.Marshal(map[string]any{"meta": map[string]string{"email": address}})
	if err != nil {
		return err
	}
	target := v.c.c.Base.JoinPath("v1", "accounts", v.account.Slug, "passwords")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(string(body)))
	if err != nil {
		return stall("the service could not be asked", err)
	}
	request.Header.Set("Content-Type", "application/vnd.api+json")
	request.Header.Set("Accept", "application/vnd.api+json")
	request.Header.Set(httpapi.CanaryHeader, v.c.c.Prove(target.Path))
	status, answer, _, err := v.do(request)
	switch {
	case err != nil:
		return stall("the service could not be reached", err)
	case status != http.StatusAccepted || len(answer) != 0:
		return stall(fmt.Sprintf("the request was answered with %d and %d bytes in place of 202 and none", status, len(answer)), nil)
	}
	return nil
}

// receive waits for the mail and gives its link. Whether the link is as it was sent is
// told also when there is none to follow.
func (c *Canary) receive(ctx context.Context, provider string, account tenants.Account, mails <-chan mailbox.Message, reached func(stage string)) (string, error) {
	select {
	case mail := <-mails:
		link, intact := findLink(mail, c.linkPrefix(account))
		c.c.Observer.CanaryLink(provider, intact)
		reached(stageDelivered)
		if link == "" {
			return "", &stalled{stageOpened, "the mail arrived without the link that was sent: the provider rewrites links, or cut it", nil}
		}
		if !intact {
			c.c.Logger.LogAttrs(ctx, slog.LevelWarn, "the canary's link was changed in a part of the mail", slog.String("provider", provider))
		}
		return link, nil
	case <-ctx.Done():
		return "", &stalled{stageDelivered, fmt.Sprintf("no mail arrived within %s", c.c.Patience), nil}
	}
}

var tokenForm = regexp.MustCompile(`^A[A-Za-z0-9_-]{42}$`)

// findLink gives the link that begins with prefix and ends with a token, empty where
// there is none, and whether both parts of the mail lead to that one and to no other.
func findLink(mail mailbox.Message, prefix string) (link string, intact bool) {
	ours := func(found []string) (list []string) {
		for _, candidate := range found {
			if token, ok := strings.CutPrefix(candidate, prefix); ok && tokenForm.MatchString(token) {
				list = append(list, candidate)
			}
		}
		return list
	}
	text, page := ours(mailbox.Links(mail.Text, "")), ours(mailbox.Links("", mail.HTML))
	intact = len(text) == 1 && (mail.HTML == "" || slices.Equal(text, page))
	if all := append(text, page...); len(all) > 0 {
		link = all[0]
	}
	return link, intact
}

func (v *visit) open(ctx context.Context, link string) (webform.Form, error) {
	stall := func(reason string, cause error) error { return &stalled{stageOpened, reason, cause} }
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return webform.Form{}, stall("the link is no address", nil)
	}
	status, body, at, err := v.do(request)
	switch {
	case err != nil:
		return webform.Form{}, stall("the page could not be reached", err)
	case status != http.StatusOK:
		return webform.Form{}, stall(fmt.Sprintf("the link was answered with %d", status), nil)
	}
	form, err := webform.Read(at, body)
	if err != nil {
		return form, stall("the page has no form", nil)
	}
	return form, nil
}

func (v *visit) choose(ctx context.Context, page webform.Form) error {
	stall := func(reason string, cause error) error { return &stalled{stageRedeemed, reason, cause} }
	if !page.Type("password", newTag()+newTag()) {
		return stall("the page asks for no password", nil)
	}
	if page.Action.Host != v.c.c.Base.Host {
		return stall("the form leads to another site", nil)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, page.Action.String(), strings.NewReader(page.Fields.Encode()))
	if err != nil {
		return stall("the form leads nowhere", nil)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", v.c.c.Base.String())
	status, _, at, err := v.do(request)
	switch {
	case err != nil:
		return stall("the new password could not be sent", err)
	case status != http.StatusOK || !strings.HasSuffix(at.Path, "/done"):
		return stall(fmt.Sprintf("the new password was answered with %d", status), nil)
	}
	return nil
}
