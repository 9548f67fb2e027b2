package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/httpapi"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/observability"
)

// listen takes the ports before anything is built on their addresses. Without a
// base URL, which only development does without, it is where the pages listen.
func (s *service) listen(context.Context) (err error) {
	if s.config.roles.api {
		if s.httpListener, err = net.Listen("tcp", s.config.httpAddr); err != nil {
			return fmt.Errorf("--%s: %w", flagName("http_addr"), err)
		}
		s.onStop("API listener", closeListener(s.httpListener))
	}
	if s.adminListener, err = net.Listen("tcp", s.config.adminAddr); err != nil {
		return fmt.Errorf("--%s: %w", flagName("admin_addr"), err)
	}
	s.onStop("operations listener", closeListener(s.adminListener))
	if s.config.baseURL == nil {
		s.config.baseURL = &url.URL{Scheme: "http", Host: s.httpListener.Addr().String()}
	}
	return nil
}

// closeListener closes one that no server has closed already.
func closeListener(l net.Listener) func(context.Context) error {
	return func(context.Context) error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

func (s *service) serveAPI(context.Context) error {
	s.signIn = &core.SignIn{
		Users: s.store, Tokens: s.store, System: s.store, Passwords: s.passwords,
		Resources: httpapi.Resources{}, Ages: s.hashes, Changes: s.store, Upgraded: s.telemetry.HashUpgraded,
		Decoys: &core.Decoys{Shares: s.store, Hashes: s.hashes},
		Tries:  s.store, Digester: s.keys, NewID: newID,
	}
	handler, err := httpapi.New(httpapi.Config{
		Resolver: s.accounts,
		Intake: &core.Intake{
			Inbox: s.telemetry.Inbox(s.inbox()), Sealer: s.keys, Digester: s.keys,
			NewID: newID, TraceParent: observability.TraceParent,
		},
		Redeemer: s.telemetry.Redeemer(core.NewRedeemer(core.RedeemConfig{
			Requests: s.store, Users: s.store, Redemptions: s.telemetry.Redemptions(s.store),
			Keys: s.keys, Passwords: s.passwords, NewID: newID,
			Digester: s.keys, Ages: s.hashes, Upgraded: s.telemetry.HashUpgraded,
			Guesses: httpapi.NewLinkGuesses(s.telemetry, nil),
		})),
		SignIn: s.signIn, Tokens: s.store, Users: s.store, Accounts: s.store, Cookies: s.keys,
		AccountAdmin: &core.AccountAdmin{System: s.store, Accounts: s.store, Changed: s.accounts.Clear, NewID: newID},
		UserAdmin: &core.UserAdmin{
			Users: s.store, Changes: s.store, Passwords: s.passwords, Resources: httpapi.Resources{}, Digester: s.keys, NewID: newID,
		},
		Support: &core.Support{Ledger: s.store, Timelines: s.store, Digester: s.keys},
		ProviderEvents: &core.ProviderEvents{
			Providers: s.store, Parser: s.plugins, Messages: s.store, Reports: s.telemetry.Reports(s.store),
			Sealer: s.keys, Digester: s.keys, NewID: newID,
		},
		Suppressions: &core.SuppressionList{Suppressions: s.store, Users: s.store, Digester: s.keys, NewID: newID},
		Audit:        s.store, Holds: s.store,
		Calls: s.store, CallKeys: s.keys, Queue: s.store,
		Endpoints: s.store,
		EndpointDesk: &core.EndpointDesk{
			Endpoints: s.store, URLs: s.config.endpointURLs(s.options.development), Recipients: keys.Recipients{}, Sealer: s.keys, NewID: newID,
		},
		EventDesk:  &core.EventDesk{Events: s.store, Wire: httpapi.Resources{}},
		Signatures: s.signer,
		BaseURL:    s.config.baseURL, Account: s.config.onlyAccount, Development: s.options.development,
		Version: version, Revision: commit,
		TrustedProxies: s.config.trustedProxies, Limits: s.config.limits, Proven: s.provenCanary,
		Middleware: s.telemetry.Middleware(), Observer: s.telemetry,
		Mailbox: s.options.mailbox, Logger: s.logger, NewID: newID, Now: time.Now,
	})
	if err != nil {
		return err
	}
	s.serve("API", httpapi.NewHTTPServer(s.lastAnswers(handler), ""), s.httpListener)
	s.onStop("drain delay", s.awaitDrain)
	return nil
}

// lastAnswers tells clients, once the service is draining, to come back by another
// connection: closing a kept one from here could meet a request on its way.
func (s *service) lastAnswers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// awaitDrain goes on serving while load balancers see that this replica is no
// longer ready (threats.md, T40).
func (s *service) awaitDrain(ctx context.Context) error {
	timer := time.NewTimer(s.config.drainDelay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return nil
}

func (s *service) serveAdmin(context.Context) error {
	s.serve("operations", &http.Server{
		Handler:           s.adminHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		MaxHeaderBytes:    16 << 10,
	}, s.adminListener)
	return nil
}

// serve runs a server until it is stopped; an end of its own goes to failed.
func (s *service) serve(name string, server *http.Server, listener net.Listener) {
	server.ErrorLog = slog.NewLogLogger(s.logger.Handler(), slog.LevelWarn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("%s listener: %w", name, err)
		}
	}()
	s.onStop(name, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, drainTime)
		defer cancel()
		err := server.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, server.Close())
		}
		<-ended
		return err
	})
}
