package evidence

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"

	"github.com/passmend/passmend/cmd/passmend/webform"
)

// browser is a person's, cookies and all.
type browser struct {
	s      *site
	client *http.Client
}

func (s *site) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &browser{s, &http.Client{Jar: jar}}
}

// open gives the form of a page.
func (b *browser) open(path string) webform.Form {
	b.s.t.Helper()
	request, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, b.s.base+path, nil)
	if err != nil {
		b.s.t.Fatal(err)
	}
	at, page := b.do(request)
	return b.read(at, page)
}

// submit types text into every field of a kind and sends the form; it gives where that
// led, and the page there.
func (b *browser) submit(form webform.Form, kind, text string) (at *url.URL, page []byte) {
	b.s.t.Helper()
	if !form.Type(kind, text) {
		b.s.t.Fatalf("%s asks for no %s", form.Action, kind)
	}
	request, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodPost, form.Action.String(), strings.NewReader(form.Fields.Encode()))
	if err != nil {
		b.s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", b.s.base)
	return b.do(request)
}

func (b *browser) read(at *url.URL, page []byte) webform.Form {
	b.s.t.Helper()
	form, err := webform.Read(at, page)
	if err != nil {
		b.s.t.Fatalf("%s: %v: %s", at, err, page)
	}
	return form
}

func (b *browser) do(request *http.Request) (at *url.URL, page []byte) {
	b.s.t.Helper()
	response, err := b.client.Do(request)
	if err != nil {
		b.s.t.Fatal(err)
	}
	defer response.Body.Close()
	if page, err = io.ReadAll(response.Body); err != nil {
		b.s.t.Fatal(err)
	}
	return response.Request.URL, page
}

// resetByForm asks for a link, opens it and chooses a password, all on the hosted
// pages, where one is refused before.
func (s *site) resetByForm(address, refused, chosen string) {
	s.t.Helper()
	b := s.browser()
	b.submit(b.open("/acme/forgot"), "email", address)
	form := b.open("/acme/r/" + s.token(address))
	at, page := b.submit(form, "password", refused)
	if strings.HasSuffix(at.Path, "/done") {
		s.t.Fatalf("a password of %d characters is taken", len(refused))
	}
	if at, page = b.submit(b.read(at, page), "password", chosen); !strings.HasSuffix(at.Path, "/done") {
		s.t.Fatalf("the form led to %s: %s", at, page)
	}
}
