package main

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The level of a running server changes and goes back; its public port knows nothing
// of it.
func TestLogLevelOfARunningServer(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.refuses(1, "no server answers", "logs", "level")
	s.serve()
	is := func(want string) bool { return s.must("logs", "level") == want }
	if !is("info") {
		t.Error(s.must("logs", "level"))
	}
	if said := s.must("logs", "level", "debug", "--for", "10m"); !strings.HasPrefix(said, "debug until ") || !strings.HasSuffix(said, ", then info") {
		t.Errorf("%q", said)
	}
	s.must("logs", "level", "warn")
	if !is("warn") { // the end of the ten minutes changes nothing any more
		t.Error(s.must("logs", "level"))
	}
	s.must("logs", "level", "debug", "--for", "1s")
	s.eventually("the level goes back", func() bool { return is("warn") })

	if answer := s.send(http.MethodGet, "/loglevel", ""); answer.status != http.StatusNotFound {
		t.Errorf("the public port answers %d", answer.status)
	}
	s.refuses(2, "level: must be debug, info, warn or error", "logs", "level", "verbose")
	s.refuses(2, "--for: must be a duration of 1s to 24h", "logs", "level", "debug", "--for", "48h")
	s.refuses(2, "--for: needs a level", "logs", "level", "--for", "10m")
}

func TestLogLevelRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	level := new(slog.LevelVar)
	l := newLevels(level, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: level})))
	defer l.stop()
	put := func(contentType, body string) (int, string) {
		t.Helper()
		request := httptest.NewRequest(http.MethodPut, "/loglevel", strings.NewReader(body))
		request.Header.Set("Content-Type", contentType)
		answer := httptest.NewRecorder()
		l.put(answer, request)
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.Code, string(text)
	}
	for _, c := range []struct {
		contentType, body string
		code              int
		says              string
	}{
		{"text/plain", `{"level":"debug"}`, 415, "application/json"}, // what a page could send unasked
		{"application/json", ``, 400, "body: must be JSON"},
		{"application/json", `{"level":"debug","other":1}`, 400, "body: must be JSON"},
		{"application/json", `{"level":"loud"}`, 400, "level: must be debug, info, warn or error"},
		{"application/json", `{"level":"debug","for":"0s"}`, 400, "for: must be a duration of 1s to 24h"},
		{"application/json", strings.Repeat(" ", 2000), 400, "body: must be JSON"},
	} {
		if code, text := put(c.contentType, c.body); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s as %s: %d %s", c.body, c.contentType, code, text)
		}
	}
	if level.Level() != slog.LevelInfo || log.Len() != 0 {
		t.Errorf("level %s, log %s", level.Level(), log.String())
	}
	for _, to := range []string{"error", "debug"} { // either way the change shows in the log
		log.Reset()
		if code, text := put("application/json; charset=utf-8", `{"level":"`+to+`","for":"1h"}`); code != 200 || !strings.Contains(text, `"level":"`+to+`"`) || !strings.Contains(text, `"then":"info"`) {
			t.Errorf("%d %s", code, text)
		}
		if !strings.Contains(log.String(), `"to":"`+to+`"`) {
			t.Errorf("to %s: the log says %q", to, log.String())
		}
	}
	l.end(time.Now()) // another change's end
	if level.Level() != slog.LevelDebug {
		t.Errorf("another's end changed the level to %s", level.Level())
	}
}
