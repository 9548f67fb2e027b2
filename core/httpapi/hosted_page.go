package httpapi

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/tenants"
)

// hostedPage is what a template may show. All of it is text and is escaped.
type hostedPage struct {
	Brand brand
	Root  string // path of the account's pages, as /acme; empty on a host of its own

	Problems []fieldProblem // in the order of the form
	Email    string         // forgot: what was typed or prefilled
	Life     string         // sent: how long a link works, in words
	Address  string         // reset: whose password
	Minimum  int            // reset: of the account's policy, in characters
	Maximum  int
	View     string // reset: the per-view token
	Again    string // expired: the sealed address
	Limit    string // limited: the name of the limit
	Wait     string // limited: in words
	Retry    string // unavailable: path of the page to begin again from
	Stay     string // how long the form stays open, in words
}

// brand is the account's branding as a page needs it. The zero value draws a page
// of nobody's, without a stylesheet.
type brand struct {
	Name    string
	Theme   string // path of the stylesheet
	Logo    string // path; empty: the name is shown
	Support string
	MailTo  string
}

// fieldProblem is one thing wrong with one field.
type fieldProblem struct{ Field, Text string }

// Problem gives the text for a field, or nothing.
func (p hostedPage) Problem(field string) string {
	for _, problem := range p.Problems {
		if problem.Field == field {
			return problem.Text
		}
	}
	return ""
}

// FirstProblem says whether the field is the first that is wrong: it takes the
// focus, which without a script only autofocus can do (WCAG 2.2, 3.3.1).
func (p hostedPage) FirstProblem(field string) bool {
	return len(p.Problems) > 0 && p.Problems[0].Field == field
}

// ownLogos is where logos are on a host that is an account's own.
const ownLogos = "/assets/logo/"

// rootOf is where the pages stand to which the request's page belongs.
func rootOf(c *gin.Context, account tenants.Account) string {
	if c.Param("account") == "" {
		return ""
	}
	return "/" + account.Slug
}

// page stands where the request's page does: what it leads to is there too.
func (h *hosted) page(c *gin.Context, account tenants.Account) hostedPage {
	root, logos := rootOf(c, account), ownLogos
	if root != "" {
		logos = root + "/logo/"
	}
	b := brand{
		Name:    account.ProductName(),
		Theme:   h.themePath(account.Branding.Accent),
		Support: account.Branding.SupportAddress,
	}
	if b.Support != "" {
		b.MailTo = "mailto:" + url.PathEscape(b.Support)
	}
	if account.Branding.LogoHash != "" {
		b.Logo = logos + account.Branding.LogoHash + ".png"
	}
	return hostedPage{Brand: b, Root: root, Retry: root + "/forgot", Stay: inWords(pageLife)}
}

// neutral is a page of no account: styled, without a name.
func (h *hosted) neutral() hostedPage {
	return hostedPage{Brand: brand{Theme: h.themePath(tenants.DefaultAccent)}}
}

// parsePages gives a template per state: hosted/NAME.html within layout.html.
func parsePages() (map[string]*template.Template, error) {
	layout, err := template.ParseFS(hostedFiles, "hosted/layout.html")
	if err != nil {
		return nil, fmt.Errorf("hosted pages: %w", err)
	}
	files, err := fs.Glob(hostedFiles, "hosted/*.html")
	if err != nil {
		return nil, fmt.Errorf("hosted pages: %w", err)
	}
	pages := make(map[string]*template.Template, len(files))
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" {
			continue
		}
		state, err := layout.Clone()
		if err == nil {
			state, err = state.ParseFS(hostedFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("hosted page %s: %w", name, err)
		}
		pages[name] = state
	}
	return pages, nil
}

// show writes a page, whole or not at all.
func (h *hosted) show(c *gin.Context, status int, state string, p hostedPage) {
	var body bytes.Buffer
	if err := h.pages[state].ExecuteTemplate(&body, "page", p); err != nil {
		h.log.LogAttrs(c.Request.Context(), slog.LevelError, "hosted page not drawn",
			slog.String("request_id", c.Writer.Header().Get("X-Request-Id")), slog.String("state", state), slog.Any("error", err))
		c.Data(http.StatusInternalServerError, "text/plain; charset=utf-8", []byte("Something went wrong. Please try again.\n"))
		return
	}
	c.Data(status, "text/html; charset=utf-8", body.Bytes())
}

// inWords gives a duration as people say it: 15 minutes, 1 hour, 24 hours.
func inWords(d time.Duration) string {
	minutes := int(d.Round(time.Minute) / time.Minute)
	switch {
	case minutes <= 1:
		return "1 minute"
	case minutes == 60:
		return "1 hour"
	case minutes > 60 && minutes%60 == 0:
		return fmt.Sprintf("%d hours", minutes/60)
	default:
		return fmt.Sprintf("%d minutes", minutes)
	}
}

// inAbout rounds a wait up, so that nobody comes back too early.
func inAbout(wait time.Duration) string {
	switch {
	case wait <= time.Minute:
		return "a minute"
	case wait <= time.Hour:
		return fmt.Sprintf("%d minutes", (wait+time.Minute-1)/time.Minute)
	default:
		return fmt.Sprintf("%d hours", (wait+time.Hour-1)/time.Hour)
	}
}
