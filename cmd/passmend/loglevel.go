package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
)

// maxLevelFor is the longest that a level may be changed for; without an end it
// stays until the next change or start.
const maxLevelFor = 24 * time.Hour

// levels is the level of the process's log, changed on the operations port while it
// runs, for a while or for good.
type levels struct {
	level  *slog.LevelVar
	logger *slog.Logger

	mu     sync.Mutex
	usual  slog.Level // to go back to
	until  time.Time  // zero: for good
	revert *time.Timer
}

func newLevels(level *slog.LevelVar, logger *slog.Logger) *levels {
	return &levels{level: level, logger: logger, usual: level.Level()}
}

// levelState is the body of both ways of /loglevel.
type levelState struct {
	Level string `json:"level"`
	// For is how long it is for, as 10m; empty: for good.
	For string `json:"for,omitempty"`
	// Until and Then are what it goes back to, and when. They are only answered.
	Until string `json:"until,omitempty"`
	Then  string `json:"then,omitempty"`
}

func levelName(level slog.Level) string { return strings.ToLower(level.String()) }

func (l *levels) state() levelState {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := levelState{Level: levelName(l.level.Level())}
	if !l.until.IsZero() {
		state.Until, state.Then = l.until.UTC().Format(time.RFC3339), levelName(l.usual)
	}
	return state
}

// set changes the level, for a while when that is above 0.
func (l *levels) set(level slog.Level, during time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.revert != nil {
		l.revert.Stop()
	}
	l.revert, l.until = nil, time.Time{}
	l.level.Set(level)
	if during == 0 {
		l.usual = level
		return
	}
	until := time.Now().Add(during)
	l.until = until
	l.revert = time.AfterFunc(during, func() { l.end(until) })
}

// end goes back to the usual level, unless another change came first.
func (l *levels) end(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.Equal(until) {
		l.level.Set(l.usual)
		l.until, l.revert = time.Time{}, nil
	}
}

// stop ends what still waits.
func (l *levels) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.revert != nil {
		l.revert.Stop()
	}
}

func (l *levels) get(w http.ResponseWriter, _ *http.Request) { writeLevel(w, l.state()) }

// put wants JSON by its type: a page that a browser shows cannot send that to
// another origin unasked.
func (l *levels) put(w http.ResponseWriter, r *http.Request) {
	if mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.TrimSpace(mediaType) != "application/json" {
		plainText(w, http.StatusUnsupportedMediaType, "Content-Type: must be application/json\n")
		return
	}
	level, during, err := readLevel(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil {
		plainText(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	tell := func() {
		l.logger.LogAttrs(r.Context(), slog.LevelWarn, "log level changed", slog.String("to", levelName(level)), slog.String("for", during.String()))
	}
	if level > slog.LevelWarn { // while it still shows
		tell()
		l.set(level, during)
	} else {
		l.set(level, during)
		tell()
	}
	writeLevel(w, l.state())
}

func readLevel(body io.Reader) (level slog.Level, during time.Duration, err error) {
	var wanted struct{ Level, For string }
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&wanted); err != nil {
		return 0, 0, errors.New(`body: must be JSON as {"level": "debug", "for": "10m"}`)
	}
	if level, err = parseLevel(wanted.Level); err != nil {
		return 0, 0, fmt.Errorf("level: must be debug, info, warn or error (got %q)", wanted.Level)
	}
	if wanted.For == "" {
		return level, 0, nil
	}
	if during, err = parseLevelFor(wanted.For); err != nil {
		return 0, 0, fmt.Errorf("for: %w", err)
	}
	return level, during, nil
}

func parseLevelFor(text string) (time.Duration, error) {
	during, err := time.ParseDuration(text)
	if err != nil || during < time.Second || during > maxLevelFor {
		return 0, fmt.Errorf("must be a duration of 1s to 24h, as 10m (got %q)", text)
	}
	return during, nil
}

func writeLevel(w http.ResponseWriter, state levelState) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(state)
}
