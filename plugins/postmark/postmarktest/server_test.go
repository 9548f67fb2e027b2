package postmarktest

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

const plain = `"From":"Acme <noreply@acme.example>","To":"ada@example.com","Subject":"s"`

// The codes and statuses are those of Postmark's API overview.
func TestRequestsAreHeldAgainstTheDocumentation(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{
		Senders: []string{"acme.example"}, Inactive: []string{"gone@example.com"},
		Templates: map[string]Template{"r": {Text: "{{{link}}}"}},
	})
	for _, c := range []struct {
		name, path, body string
		change           func(http.Header)
		status, code     int
	}{
		{"good", "/email", `{` + plain + `,"TextBody":"x"}`, nil, 200, 0},
		{"token in other letters", "/email", `{` + plain + `,"TextBody":"x"}`, func(h http.Header) { h.Set("X-Postmark-Server-Token", "SERVER-token") }, 200, 0},
		{"no token", "/email", `{}`, func(h http.Header) { h.Del("X-Postmark-Server-Token") }, 401, 10},
		{"another token", "/email", `{}`, func(h http.Header) { h.Set("X-Postmark-Server-Token", "x") }, 401, 10},
		{"no Accept", "/email", `{}`, func(h http.Header) { h.Del("Accept") }, 415, 409},
		{"no Content-Type", "/email", `{}`, func(h http.Header) { h.Del("Content-Type") }, 415, 409},
		{"not there", "/mail", `{}`, nil, 404, 12},
		{"not JSON", "/email", `{`, nil, 422, 402},
		{"unknown field", "/email", `{` + plain + `,"TextBody":"x","Link":"x"}`, nil, 422, 403},
		{"no sender", "/email", `{"To":"ada@example.com","TextBody":"x"}`, nil, 422, 300},
		{"no recipient", "/email", `{"From":"a@acme.example","TextBody":"x"}`, nil, 422, 300},
		{"no body", "/email", `{` + plain + `}`, nil, 422, 300},
		{"no signature", "/email", `{"From":"a@other.example","To":"ada@example.com","TextBody":"x"}`, nil, 422, 400},
		{"inactive", "/email", `{"From":"a@acme.example","To":"gone@example.com","TextBody":"x"}`, nil, 422, 406},
		{"no such stream", "/email", `{` + plain + `,"TextBody":"x","MessageStream":"x"}`, nil, 422, 1235},
		{"strange tracking", "/email", `{` + plain + `,"TextBody":"x","TrackLinks":"Some"}`, nil, 422, 300},
		{"long metadata", "/email", `{` + plain + `,"TextBody":"x","Metadata":{"a":"` + strings.Repeat("x", 81) + `"}}`, nil, 422, 300},
		{"program attached", "/email", `{` + plain + `,"TextBody":"x","Attachments":[{"Name":"a.exe","Content":"eA==","ContentType":"a/b"}]}`, nil, 422, 411},
		{"too large", "/email", `{` + plain + `,"TextBody":"` + strings.Repeat("x", maxSingle) + `"}`, nil, 413, 300},
		{"body too large", "/email", `{` + plain + `,"TextBody":"` + strings.Repeat("x", maxPart+1) + `"}`, nil, 422, 300},
		{"template", "/email/withTemplate", `{"From":"a@acme.example","To":"ada@example.com","TemplateAlias":"r","TemplateModel":{"link":"l"}}`, nil, 200, 0},
		{"no such template", "/email/withTemplate", `{"From":"a@acme.example","To":"ada@example.com","TemplateAlias":"x","TemplateModel":{}}`, nil, 422, 1101},
		{"no model", "/email/withTemplate", `{"From":"a@acme.example","To":"ada@example.com","TemplateAlias":"r"}`, nil, 422, 1109},
		{"batch that is none", "/email/batch", `{}`, nil, 422, 402},
		{"batch too long", "/email/batch", "[" + strings.Repeat("{},", 500) + "{}]", nil, 422, 410},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, answer := ask(t, http.MethodPost, s.URL+c.path, c.body, c.change)
			var got fault
			if err := json.Unmarshal(answer, &got); err != nil {
				t.Fatal(err)
			}
			if status != c.status || got.ErrorCode != c.code {
				t.Errorf("%d, %+v, want %d, %d", status, got, c.status, c.code)
			}
		})
	}
	if n := len(s.Messages()); n != 3 {
		t.Errorf("%d messages were taken, want 3", n)
	}
}

func TestABatchAnswersEachMessage(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	status, answer := ask(t, http.MethodPost, s.URL+"/email/batch", `[{`+plain+`,"TextBody":"x"},{},{`+plain+`,"HtmlBody":"y"}]`, nil)
	var got []struct {
		ErrorCode int
		MessageID string
	}
	if err := json.Unmarshal(answer, &got); err != nil || status != 200 || len(got) != 3 {
		t.Fatalf("%d %s %v", status, answer, err)
	}
	taken := s.Messages()
	if len(taken) != 2 || got[0].MessageID != taken[0].ID || got[1].ErrorCode != 300 || got[2].MessageID != taken[1].ID {
		t.Errorf("answers %+v for %+v", got, taken)
	}
}

func TestTheTestTokenKeepsNothing(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	status, _ := ask(t, http.MethodPost, s.URL+"/email", `{`+plain+`,"TextBody":"x"}`, func(h http.Header) {
		h.Set("X-Postmark-Server-Token", TestToken)
	})
	if status != 200 || len(s.Messages()) != 0 {
		t.Errorf("%d, %d messages", status, len(s.Messages()))
	}
}

func TestTheSearchFindsByMetadata(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{})
	for _, color := range []string{"blue", "red", "blue"} {
		ask(t, http.MethodPost, s.URL+"/email", `{`+plain+`,"TextBody":"x","Metadata":{"color":"`+color+`"}}`, nil)
	}
	for query, want := range map[string]int{
		"count=50&offset=0": 3, "count=50&offset=0&metadata_color=blue": 2, "count=1&offset=0&metadata_color=red": 1,
		"count=50&offset=0&metadata_color=green": 0, "count=50&offset=0&messagestream=other": 0, "count=50": -1, "count=501&offset=0": -1,
	} {
		status, answer := ask(t, http.MethodGet, s.URL+"/messages/outbound?"+query, "", nil)
		var got struct{ TotalCount, ErrorCode int }
		if err := json.Unmarshal(answer, &got); err != nil {
			t.Fatal(err)
		}
		if want < 0 && (status != 422 || got.ErrorCode != 700) || want >= 0 && got.TotalCount != want {
			t.Errorf("%s: %d %+v, want %d", query, status, got, want)
		}
	}
}

func ask(t *testing.T, method, url, body string, change func(http.Header)) (status int, answer []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Postmark-Server-Token", "server-token")
	if change != nil {
		change(request.Header)
	}
	response, err := new(http.Client).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}
