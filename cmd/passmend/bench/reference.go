package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Reference serves what Passmend is held against, until ctx ends: a Gin handler
// that reads the body and answers 202; with an inbox, after a request of the
// usual size is on disk. It logs a line when it is ready.
func Reference(ctx context.Context, logger *slog.Logger, inbox core.Inbox, account tenants.AccountID, newID func() string) error {
	gin.SetMode(gin.ReleaseMode)
	engine := gin.New()
	if err := engine.SetTrustedProxies(nil); err != nil {
		return err
	}
	engine.POST("/v1/accounts/:account/passwords", func(c *gin.Context) {
		if _, err := io.ReadAll(c.Request.Body); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		if inbox != nil {
			if err := inbox.Accept(c.Request.Context(), account, someRequest(newID)); err != nil {
				logger.ErrorContext(ctx, "accept failed", slog.Any("error", err))
				c.Status(http.StatusServiceUnavailable)
				return
			}
		}
		c.Status(http.StatusAccepted)
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: engine, ReadHeaderTimeout: 5 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	logger.InfoContext(ctx, "ready", slog.String("http", listener.Addr().String()))
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	err = server.Close()
	if served := <-ended; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// someRequest has the size of a real one, and nothing in it.
func someRequest(newID func() string) core.Request {
	request := core.Request{
		ID: core.RequestID(newID()), State: core.StatePending, Deliver: true,
		SealedAddress: make([]byte, 60), AddressDigest: make([]byte, 32),
		TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	_, _ = rand.Read(request.AddressDigest)
	return request
}
