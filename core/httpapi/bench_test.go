package httpapi_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/tenants"
)

// BenchmarkPostPasswords is the edge alone: all that comes before and after the
// insert, without the insert and without a connection.
func BenchmarkPostPasswords(b *testing.B) {
	e := setup(b, func(c *httpapi.Config) { c.Intake = accepting{} })
	b.ReportAllocs()
	for b.Loop() {
		request := httptest.NewRequest("POST", e.url+"/v1/accounts/acme/passwords", strings.NewReader(good))
		request.Header.Set("Content-Type", "application/vnd.api+json")
		recorder := httptest.NewRecorder()
		e.handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusAccepted {
			b.Fatal(recorder.Code, recorder.Body)
		}
	}
}

// accepting takes everything and keeps nothing.
type accepting struct{}

func (accepting) Accept(context.Context, tenants.Account, core.Ask) error { return nil }
