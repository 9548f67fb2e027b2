package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrNoBinaries: PostgreSQL's server is not installed.
var ErrNoBinaries = errors.New("no PostgreSQL binaries in PATH or /usr/lib/postgresql")

const (
	superuser = "passmend"
	// readyTime is how long a server may take to answer, crash recovery included.
	readyTime = 60 * time.Second
	readyLook = 20 * time.Millisecond
	stopTime  = 20 * time.Second
)

// Cluster is a PostgreSQL server of the test's own: a data directory, a loopback
// port and, while it is started, a process. It is durable like one in production
// unless its settings say otherwise. One goroutine at a time.
type Cluster struct {
	bin      string
	dir      string
	port     int
	password string
	settings map[string]string
	clock    []string // of the environment: whose clock the server reads; none: the machine's

	mu      sync.Mutex
	process *os.Process
	ended   chan struct{} // closed when the process has ended
	frozen  bool
}

// NewCluster makes a cluster in dir, an empty directory such as Dir gives, and does
// not start it.
// Settings are lines of postgresql.conf. As root, dir is handed over to an
// unprivileged user, under whom the server runs.
func NewCluster(dir string, settings map[string]string) (*Cluster, error) {
	c, err := newCluster(dir, settings)
	if err != nil {
		return nil, err
	}
	secret := filepath.Join(dir, "password")
	if err := c.write(secret, c.password); err != nil {
		return nil, err
	}
	err = c.run("initdb", "--pgdata", c.data(), "--username", superuser, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if err != nil {
		return nil, err
	}
	return c, c.configure()
}

// Standby makes a cluster in dir that follows c, as Follow does.
func (c *Cluster) Standby(dir, through string, settings map[string]string) (*Cluster, error) {
	s, err := newCluster(dir, settings)
	if err != nil {
		return nil, err
	}
	return s, s.Follow(c, through)
}

// Follow makes c, which must not be running, anew as a standby of primary, which
// must be; of what c held only its settings and its port stay. through is where the
// primary is reached, HOST:PORT; empty: where it listens. Its name to
// synchronous_standby_names is "standby".
func (c *Cluster) Follow(primary *Cluster, through string) error {
	if c.Running() {
		return errors.New("cluster is running")
	}
	if err := os.RemoveAll(c.data()); err != nil {
		return err
	}
	c.password = primary.password
	source := primary.at(cmp.Or(through, primary.address()), "postgres") + "&application_name=standby"
	err := c.run("pg_basebackup", "--pgdata", c.data(), "--dbname", source, "--write-recovery-conf", "--checkpoint", "fast", "--no-sync")
	if err != nil {
		return err
	}
	return c.configure()
}

func newCluster(dir string, settings map[string]string) (*Cluster, error) {
	bin, err := findBinaries()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	random := make([]byte, 16)
	_, _ = rand.Read(random)
	c := &Cluster{bin: bin, dir: dir, port: port, password: hex.EncodeToString(random), settings: settings}
	return c, c.handOver(dir)
}

// URL names a database of the cluster.
func (c *Cluster) URL(database string) string { return c.at(c.address(), database) }

// at is URL by another address.
func (c *Cluster) at(address, database string) string {
	named := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, c.password),
		Host: address, Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return named.String()
}

func (c *Cluster) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

// Start starts the server and waits until it answers.
func (c *Cluster) Start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running() {
		return errors.New("cluster is running")
	}
	cmd := c.command("postgres", "-D", c.data())
	cmd.Env = append(cmd.Env, c.clock...)
	log, err := os.OpenFile(c.log(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if c.process, c.ended, err = startBound(cmd); err != nil {
		return err
	}
	if err := c.ready(); err != nil {
		_ = c.signal(syscall.SIGQUIT)
		return err
	}
	return nil
}

// Running says whether the server's process is there, answering or not: one that
// fails ends by itself.
func (c *Cluster) Running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running()
}

func (c *Cluster) running() bool {
	if c.process == nil {
		return false
	}
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// Stop shuts the server down in order; connections are cut. One that is stopped
// already stays so; one that is frozen is killed, as it hears nothing.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.frozen {
		return c.kill()
	}
	return c.signal(syscall.SIGINT)
}

// Kill ends the server and all its processes with SIGKILL, as a crash would.
func (c *Cluster) Kill() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kill()
}

func (c *Cluster) kill() error {
	if c.process == nil {
		return nil
	}
	children := childrenOf(c.process.Pid)
	err := c.signal(syscall.SIGKILL)
	c.frozen = false
	for _, pid := range children {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	for deadline := time.Now().Add(stopTime); slices.ContainsFunc(children, alive) && time.Now().Before(deadline); {
		time.Sleep(readyLook)
	}
	return err
}

// Freeze stops the server and all its processes where they stand: as with a machine
// that is gone, nothing answers and no connection ends. It does not go on: Kill or
// Stop ends it.
func (c *Cluster) Freeze() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil
	}
	if err := c.process.Signal(syscall.SIGSTOP); err != nil { // first: it has no more children
		return err
	}
	c.frozen = true
	for _, pid := range childrenOf(c.process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	return nil
}

// Restart stops the server, if it runs, and starts it.
func (c *Cluster) Restart() error {
	if err := c.Stop(); err != nil {
		return err
	}
	return c.Start()
}

// Promote makes a standby a primary and waits until it is.
func (c *Cluster) Promote() error {
	return c.run("pg_ctl", "promote", "--pgdata", c.data(), "--wait", "--timeout", "30")
}

// Log is what the server has logged so far.
func (c *Cluster) Log() ([]byte, error) { return os.ReadFile(c.log()) }

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }
func (c *Cluster) log() string  { return filepath.Join(c.dir, "log") }

// configure writes settings that any machine can bear, and then the test's own.
func (c *Cluster) configure() error {
	lines := []string{
		"listen_addresses = '127.0.0.1'", "port = " + strconv.Itoa(c.port), "unix_socket_directories = '" + c.sockets() + "'",
		"max_connections = 200", "shared_buffers = '32MB'", "wal_level = replica", "hot_standby = on",
		"max_wal_size = '256MB'", "log_min_messages = warning", "dynamic_shared_memory_type = mmap", "timezone = 'UTC'",
	}
	for name, value := range c.settings {
		lines = append(lines, name+" = '"+strings.ReplaceAll(value, "'", "''")+"'")
	}
	return c.write(filepath.Join(c.data(), "postgresql.conf"), strings.Join(lines, "\n")+"\n")
}

// sockets is the directory of the unix socket; none when its name is too long for
// one (sun_path has 108 bytes).
func (c *Cluster) sockets() string {
	if len(c.dir) > 80 || strings.ContainsAny(c.dir, `', "`) {
		return ""
	}
	return c.dir
}

// ready waits until the server answers or its process ends.
func (c *Cluster) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), readyTime)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.URL("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-c.ended:
			text, _ := os.ReadFile(c.log())
			return fmt.Errorf("PostgreSQL did not start: %s", bytes.TrimSpace(text[max(0, len(text)-2000):]))
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL does not answer: %w", err)
		case <-time.After(readyLook):
		}
	}
}

// signal ends the process and waits for its end.
func (c *Cluster) signal(s syscall.Signal) error {
	if c.process == nil {
		return nil
	}
	if err := c.process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-c.ended:
	case <-time.After(stopTime):
		_ = c.process.Kill()
		<-c.ended
	}
	c.process = nil
	return nil
}

func (c *Cluster) run(name string, args ...string) error {
	cmd := c.command(name, args...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, bytes.TrimSpace(output[max(0, len(output)-2000):]))
	}
	return nil
}

// command gives one of PostgreSQL's, without our environment: it would take
// settings from it.
func (c *Cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.dir
	cmd.Env = []string{"PATH=" + c.bin + ":/usr/bin:/bin", "HOME=" + c.dir, "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: unprivileged()}
	return cmd
}

// write makes a file of the server's user, for that user only.
func (c *Cluster) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return c.handOver(path)
}

func (c *Cluster) handOver(path string) error {
	if user := unprivileged(); user != nil {
		return os.Chown(path, int(user.Uid), int(user.Gid))
	}
	return nil
}
