package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/passmend/passmend/cmd/passmend/mailbox"
	"github.com/passmend/passmend/cmd/passmend/webform"
)

// journeyPassword is what the person chooses on the page.
const journeyPassword = "a new one, remembered this time"

// journey is a person's way from forgetting to signing in, over the wire only.
type journey struct {
	out     *report
	client  *http.Client
	base    *url.URL
	mailbox *mailbox.Mailbox

	asked     time.Time
	mailAfter time.Duration
	link      string
	page      webform.Form
}

// step is one part of the journey; it writes its details to the report.
type step struct {
	name string
	run  func(j *journey, ctx context.Context) error
}

var journeySteps = []step{
	{"ask for a reset, as the app does", (*journey).ask},
	{"receive the mail over SMTP", (*journey).receive},
	{"open the link: the hosted page", (*journey).open},
	{"choose a new password on the page", (*journey).choose},
	{"sign in with the new password", (*journey).signInNew},
	{"the old password no longer works", (*journey).signInOld},
	{"the link does not work again", (*journey).openAgain},
	{"a notice of the change arrives", (*journey).receiveNotice},
}

func (j *journey) begin(d *development) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	j.client = &http.Client{Jar: jar, Timeout: 10 * time.Second}
	j.base, j.mailbox = d.config.baseURL, d.mailbox
	j.out.detail("account", devAccount)
	j.out.detail("user", devUser)
	j.out.detail("listening on", j.base.String())
	return nil
}

func (j *journey) api(path ...string) string {
	return j.base.JoinPath(append([]string{"v1", "accounts", devAccount}, path...)...).String()
}

func (j *journey) ask(ctx context.Context) error {
	target := j.api("passwords")
	j.out.command(curlLine(target))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(`{"meta":{"email":"`+devUser+`"}}`))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/vnd.api+json")
	request.Header.Set("Accept", "application/vnd.api+json")
	j.asked = time.Now()
	status, body, _, err := j.do(request)
	if err != nil {
		return err
	}
	j.out.detail("answer", fmt.Sprintf("%d %s, %d bytes", status, http.StatusText(status), len(body)))
	if status != http.StatusAccepted || len(body) != 0 {
		return errors.New("the answer must be 202 with zero bytes")
	}
	return nil
}

func (j *journey) receive(ctx context.Context) error {
	message, err := j.mail(ctx, func(m mailbox.Message) bool { return len(m.Links) > 0 })
	if err != nil {
		return err
	}
	j.mailAfter = time.Since(j.asked)
	links := slices.DeleteFunc(slices.Clone(message.Links), func(link string) bool {
		return !strings.HasPrefix(link, j.base.JoinPath(devAccount, "r").String()+"/")
	})
	if len(links) != 1 {
		return fmt.Errorf("the mail must hold one link to the page, it holds %d", len(links))
	}
	j.link = links[0]
	j.out.detail("link", j.link)
	return nil
}

// mail waits for a mail to the user and shows its head.
func (j *journey) mail(ctx context.Context, wanted func(mailbox.Message) bool) (mailbox.Message, error) {
	wait, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	message, err := j.mailbox.Wait(wait, func(m mailbox.Message) bool {
		return slices.Contains(m.To, devUser) && wanted(m)
	})
	if err != nil {
		return message, fmt.Errorf("no such mail came: %w", err)
	}
	j.out.detail("From", message.From)
	j.out.detail("Subject", message.Subject)
	return message, nil
}

func (j *journey) open(ctx context.Context) error {
	status, body, at, err := j.get(ctx, j.link)
	if err != nil {
		return err
	}
	j.out.detail("page", fmt.Sprintf("%d %s", status, at))
	if status != http.StatusOK || strings.Contains(at.Path, "/r/") {
		return errors.New("the link must lead to a page whose address no longer holds the token")
	}
	j.page, err = webform.Read(at, body)
	return err
}

func (j *journey) choose(ctx context.Context) error {
	if !j.page.Type("password", journeyPassword) {
		return errors.New("the page must ask for a password")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, j.page.Action.String(), strings.NewReader(j.page.Fields.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", j.base.String())
	status, _, at, err := j.do(request)
	if err != nil {
		return err
	}
	j.out.detail("page", fmt.Sprintf("%d %s", status, at))
	if status != http.StatusOK || !strings.HasSuffix(at.Path, "/done") {
		return errors.New("the page must say that it is done")
	}
	return nil
}

func (j *journey) signInNew(ctx context.Context) error {
	status, kind, err := j.signIn(ctx, journeyPassword)
	if err != nil {
		return err
	}
	j.out.detail("answer", fmt.Sprintf("%d %s, a %s", status, http.StatusText(status), kind))
	if status != http.StatusCreated {
		return errors.New("the answer must be 201 with a token")
	}
	return nil
}

func (j *journey) signInOld(ctx context.Context) error {
	status, _, err := j.signIn(ctx, devPassword)
	if err != nil {
		return err
	}
	j.out.detail("answer", fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if status != http.StatusUnauthorized {
		return errors.New("the answer must be 401")
	}
	return nil
}

func (j *journey) signIn(ctx context.Context, password string) (status int, kind string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, j.api("tokens"), nil)
	if err != nil {
		return 0, "", err
	}
	request.SetBasicAuth(devUser, password)
	status, body, _, err := j.do(request)
	if err != nil || status != http.StatusCreated {
		return status, "", err
	}
	var document struct {
		Data struct {
			Attributes struct{ Kind, Token string }
		}
	}
	if err := json.Unmarshal(body, &document); err != nil || document.Data.Attributes.Token == "" {
		return status, "", errors.New("the answer holds no token")
	}
	return status, document.Data.Attributes.Kind, nil
}

func (j *journey) openAgain(ctx context.Context) error {
	status, _, _, err := j.get(ctx, j.link)
	if err != nil {
		return err
	}
	j.out.detail("page", fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if status != http.StatusNotFound {
		return errors.New("the answer must be 404")
	}
	return nil
}

func (j *journey) receiveNotice(ctx context.Context) error {
	_, err := j.mail(ctx, func(m mailbox.Message) bool { return !strings.Contains(m.Text, j.link) })
	return err
}

func (j *journey) get(ctx context.Context, target string) (int, []byte, *url.URL, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	return j.do(request)
}

// do sends a request and gives status, body and the address where redirects ended.
func (j *journey) do(request *http.Request) (int, []byte, *url.URL, error) {
	response, err := j.client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, body, response.Request.URL, err
}
