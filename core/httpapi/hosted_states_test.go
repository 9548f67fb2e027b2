package httpapi

import (
	"net/http"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
)

// drawnState is one page as it can be drawn: how to get there and what must hold.
type drawnState struct {
	name   string
	status int
	title  string // without the brand
	brand  bool
	show   func(s *site) pageAnswer
}

const goodPassword = "correct horse battery staple"

// drawnStates is every state of every page. Each show brings a fresh site into the
// state and gives the answer.
func drawnStates() []drawnState {
	openForm := func(s *site, pairs ...string) pageAnswer {
		b := s.visitor()
		view := b.open(s.acme, s.link(s.acme, "ada@example.com"))
		return b.post("/acme/r", append([]string{"view", view}, pairs...)...)
	}
	return []drawnState{
		{"forgot", 200, "Reset your password", true, func(s *site) pageAnswer {
			return s.visitor().get("/acme/forgot?email=ada%40example.com")
		}},
		{"forgot, blank address", 422, "Error: Reset your password", true, func(s *site) pageAnswer {
			return s.visitor().post("/acme/forgot", "email", "  ")
		}},
		{"forgot, address without @", 422, "Error: Reset your password", true, func(s *site) pageAnswer {
			return s.visitor().post("/acme/forgot", "email", "ada.example.com")
		}},
		{"forgot, control character", 422, "Error: Reset your password", true, func(s *site) pageAnswer {
			return s.visitor().post("/acme/forgot", "email", "ada\x00@example.com")
		}},
		{"sent", 200, "Check your inbox", true, func(s *site) pageAnswer {
			return s.visitor().post("/acme/forgot", "email", "ada@example.com")
		}},
		{"rate-limited", 429, "Too many requests", true, func(s *site) pageAnswer {
			s.limit(func(l *Limits) { l.IP = every(89 * time.Second) })
			s.visitor().post("/acme/forgot", "email", "ada@example.com")
			return s.visitor().post("/acme/forgot", "email", "ada@example.com")
		}},
		{"account's share used up", 429, "Too many requests", true, func(s *site) pageAnswer {
			s.limit(func(l *Limits) { l.Account = every(89 * time.Second) })
			s.visitor().post("/acme/forgot", "email", "ada@example.com")
			return s.visitor().post("/acme/forgot", "email", "bob@example.com")
		}},
		{"too many unknown links", 429, "Too many requests", true, func(s *site) pageAnswer {
			s.limit(func(l *Limits) { l.BadToken = every(89 * time.Second) })
			s.visitor().get("/acme/r/unknown")
			return s.visitor().get("/acme/r/" + s.link(s.acme, "ada@example.com"))
		}},
		{"unavailable", 503, "Not available just now", true, func(s *site) pageAnswer {
			s.intake.fault = core.ErrNotAccepted
			return s.visitor().post("/acme/forgot", "email", "ada@example.com")
		}},
		{"reset", 200, "Choose a new password", true, func(s *site) pageAnswer {
			b := s.visitor()
			b.open(s.acme, s.link(s.acme, "ada@example.com"))
			return b.get("/acme/r")
		}},
		{"reset, mismatch", 422, "Error: Choose a new password", true, func(s *site) pageAnswer {
			return openForm(s, "password", goodPassword, "repeat", goodPassword+"!")
		}},
		{"reset, blank", 422, "Error: Choose a new password", true, func(s *site) pageAnswer {
			return openForm(s, "password", "", "repeat", "")
		}},
		{"reset, too short", 422, "Error: Choose a new password", true, func(s *site) pageAnswer {
			return openForm(s, "password", "short77", "repeat", "short77")
		}},
		{"reset, easy to guess", 422, "Error: Choose a new password", true, func(s *site) pageAnswer {
			return openForm(s, "password", "AcmeRockets1", "repeat", "AcmeRockets1")
		}},
		{"done", 200, "Your password was changed", true, func(s *site) pageAnswer {
			return s.visitor().get("/acme/r/done")
		}},
		{"disputed", 200, "This link is ended", true, func(s *site) pageAnswer {
			return s.visitor().get("/acme/r/disputed")
		}},
		{"expired", 410, "This link has expired", true, func(s *site) pageAnswer {
			token := s.link(s.acme, "ada@example.com")
			s.expire(token)
			return s.visitor().get("/acme/r/" + token)
		}},
		{"unknown", 404, "This link does not work", true, func(s *site) pageAnswer {
			return s.visitor().get("/acme/r/nonsense")
		}},
		{"timed out", 403, "This page has timed out", true, func(s *site) pageAnswer {
			return s.visitor().get("/acme/r")
		}},
		{"refused", 403, "This form could not be used", true, func(s *site) pageAnswer {
			return s.visitor().do("POST", "/acme/r", formOf("view", "x"), http.Header{"Sec-Fetch-Site": {"cross-site"}})
		}},
		{"unreadable", 400, "This form could not be read", true, func(s *site) pageAnswer {
			return s.visitor().do("POST", "/acme/forgot", nil, http.Header{"Content-Type": {";"}})
		}},
		{"no account", 404, "Page not found", false, func(s *site) pageAnswer {
			return s.visitor().get("/nobody/forgot")
		}},
		{"misdirected", 421, "Wrong address", false, func(s *site) pageAnswer {
			return s.visitor().do("GET", "/acme/forgot", nil, http.Header{"Host": {"evil.example"}})
		}},
	}
}

func TestEveryStateIsDrawn(t *testing.T) {
	t.Parallel()
	for _, state := range drawnStates() {
		t.Run(state.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			got := state.show(s)
			if got.Status != state.status {
				t.Errorf("status %d, want %d", got.Status, state.status)
			}
			if mime := got.Header.Get("Content-Type"); mime != "text/html; charset=utf-8" {
				t.Errorf("content type %q", mime)
			}
			document := parseMarkup(t, got.Body)
			want := state.title
			if state.brand {
				want += " – Acme Rockets"
			}
			if title := markupText(firstElement(document, "title")); title != want {
				t.Errorf("title %q, want %q", title, want)
			}
		})
	}
}
