package main

import (
	"context"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"
)

const (
	// readyPing bounds the database's answer to a readiness probe, and readyFor is
	// how long an answer is good for.
	readyPing = 500 * time.Millisecond
	readyFor  = 2 * time.Second
)

// adminHandler is the operations port: metrics, probes, profiles and the log level. It is never
// on the public listener.
func (s *service) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", s.telemetry.MetricsHandler())
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plainText(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.readiness())
	mux.HandleFunc("GET /loglevel", s.levels.get)
	mux.HandleFunc("PUT /loglevel", s.levels.put)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness answers 200 while the service can accept: not draining, and the
// database has answered within the last two seconds.
func (s *service) readiness() http.HandlerFunc {
	var mu sync.Mutex
	var asked time.Time
	var answer error
	return func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			plainText(w, http.StatusServiceUnavailable, "draining\n")
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if time.Since(asked) > readyFor {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), readyPing)
			defer cancel()
			answer, asked = s.store.Ping(ctx), time.Now()
		}
		if answer != nil {
			plainText(w, http.StatusServiceUnavailable, "the database does not answer\n")
			return
		}
		plainText(w, http.StatusOK, "ready\n")
	}
}

func plainText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
