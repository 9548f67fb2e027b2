package pgtest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A frozen server answers nobody, and stopping it leaves none of its processes: a
// process that stands still would hear no signal but SIGKILL, for ever.
func TestStopOfAFrozenClusterLeavesNoProcess(t *testing.T) {
	t.Parallel()
	cluster, err := NewCluster(Dir(t), nil)
	if errors.Is(err, ErrNoBinaries) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cluster.Kill() })
	children := childrenOf(cluster.process.Pid)
	if len(children) == 0 {
		t.Fatal("the server has no processes: the test proves nothing")
	}
	if err := cluster.Freeze(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := pgx.Connect(ctx, cluster.URL("postgres")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a frozen server answers: %v", err)
	}
	if err := cluster.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range children {
		if alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
}
