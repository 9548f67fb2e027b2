package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/core/keys"
	"github.com/passmend/passmend/core/sqlstore"
	"github.com/passmend/passmend/tenants"
)

// seeders is how many rows are made at once: commits are shared.
const seeders = 64

// site is a deployment: a database, keys, and accounts with users. Several are
// used one after the other, so that one part leaves nothing in the way of the
// next.
type site struct {
	b        *bench
	number   int
	dir      string
	url      string // of the database
	keysFile string
	accounts []account
	ports    []string // of the sinks, as the plugins' cage is told
}

type account struct {
	id    tenants.AccountID
	slug  string
	users int
}

// withSite makes a site, hands it out, and cleans up.
func (b *bench) withSite(ctx context.Context, use func(ctx context.Context, s *site) error) (err error) {
	b.sites++
	s := &site{b: b, number: b.sites, dir: filepath.Join(b.dir, strconv.Itoa(b.sites))}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return err
	}
	s.keysFile = filepath.Join(s.dir, "keys.json")
	if s.url = b.DatabaseURL; b.sqlite() {
		s.url = "sqlite://" + filepath.Join(s.dir, "passmend.db")
	}
	if err := keys.Init(s.keysFile); err != nil {
		return err
	}
	err = use(ctx, s)
	if !b.sqlite() && ctx.Err() == nil {
		b.say("emptying the queue")
		err = errors.Join(err, s.withStore(ctx, s.drain))
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// withStore opens the database in this process. No server of the site runs.
func (s *site) withStore(ctx context.Context, use func(ctx context.Context, store *sqlstore.Store) error) (err error) {
	store, err := s.b.Open(ctx, s.url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := store.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Stop(context.WithoutCancel(ctx))) }()
	return use(ctx, store)
}

// target gives user number n of the site, counted round all accounts first.
func (s *site) target(n int) target {
	a := s.accounts[n%len(s.accounts)]
	return target{account: a.slug, address: a.address(n / len(s.accounts) % a.users)}
}

// spread gives targets so that neighbours differ and every user has a turn.
func (s *site) spread() func() target {
	var n atomic.Int64
	return func() target { return s.target(int(n.Add(1))) }
}

func (a account) address(user int) string {
	return "u" + strconv.Itoa(user) + "." + a.slug + "@bench.example"
}

// seed makes accounts with so many users each and gives those it made.
func (s *site) seed(ctx context.Context, store *sqlstore.Store, accounts, users int) ([]account, error) {
	s.b.say("making %d accounts with %d users each", accounts, users)
	made := make([]account, accounts)
	first := len(s.accounts)
	err := each(ctx, accounts, func(ctx context.Context, i int) error {
		slug := fmt.Sprintf("b%d-%d", s.number, first+i)
		created, err := store.CreateAccount(ctx, tenants.New(tenants.AccountID(s.b.NewID()), slug, "Bench "+strconv.Itoa(i)))
		made[i] = account{id: created.ID, slug: slug, users: users}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make accounts: %w", err)
	}
	err = each(ctx, accounts, func(ctx context.Context, i int) error {
		for batch := range slices.Chunk(s.users(made[i]), core.ImportBatch) {
			if _, err := store.ImportUsers(ctx, made[i].id, batch); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make users: %w", err)
	}
	s.accounts = append(s.accounts, made...)
	return made, nil
}

// users gives an account's.
func (s *site) users(of account) []core.ImportedUser {
	users := make([]core.ImportedUser, of.users)
	for i := range users {
		users[i].User = core.User{
			ID: core.UserID(s.b.NewID()), Account: of.id, Address: core.Address{Secret: tenants.NewSecret(of.address(i))},
			FirstName: "Ada", LastName: "Lovelace", Role: core.RoleUser,
			// Nobody signs in: what matters is that there is one, and its size.
			PasswordHash: make([]byte, 160),
		}
	}
	return users
}

// provide leads an account's mail, or with no account the platform's, to a sink.
func (s *site) provide(ctx context.Context, store *sqlstore.Store, owner tenants.AccountID, to *sink) error {
	name := "sink" + strconv.Itoa(s.number)
	s.ports = append(s.ports, "smtp:"+strconv.Itoa(to.port()))
	err := store.CreateProvider(ctx, owner, core.Provider{
		ID: core.ProviderID(s.b.NewID()), Account: owner, Name: name, Plugin: "smtp", Settings: to.settings(),
	})
	if err != nil || owner == "" {
		return err
	}
	account, err := store.AccountByID(ctx, owner)
	if err != nil {
		return err
	}
	account.Providers = []string{name}
	_, err = store.UpdateAccount(ctx, owner, account)
	return err
}

// platform seeds an ordinary site: accounts, users, and one provider for all.
func (s *site) platform(ctx context.Context, accounts, users int, to *sink) error {
	return s.withStore(ctx, func(ctx context.Context, store *sqlstore.Store) error {
		if _, err := s.seed(ctx, store, accounts, users); err != nil {
			return err
		}
		return s.provide(ctx, store, "", to)
	})
}

// serve starts the real server on the site. settings are added to its environment
// as KEY=VALUE without the prefix.
func (s *site) serve(ctx context.Context, settings ...string) (*process, error) {
	http, err := freeAddress()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddress()
	if err != nil {
		return nil, err
	}
	env := []string{
		"PATH=" + os.Getenv("PATH"), "TMPDIR=" + s.b.temporary, "HOME=" + s.dir,
		"PASSMEND_DATA_DIR=" + s.dir, "PASSMEND_KEYS_FILE=" + s.keysFile, "PASSMEND_DATABASE_URL=" + s.url,
		"PASSMEND_PLUGIN_DIR=" + s.b.PluginDir, "PASSMEND_PLUGIN_PORTS=" + strings.Join(s.ports, ","),
		"PASSMEND_DEFAULT_PROVIDERS=sink" + strconv.Itoa(s.number),
		"PASSMEND_BASE_URL=http://127.0.0.1", "PASSMEND_HTTP_ADDR=" + http, "PASSMEND_ADMIN_ADDR=" + admin,
	}
	for _, limit := range []string{
		"RSTPWD", "MUTPWD", "AUTH", "IP", "IP_DAY", "ACCOUNT", "BAD_TOKEN", "RECIPIENT", "RECIPIENT_ALL", "COALESCE",
	} {
		env = append(env, "PASSMEND_LIMIT_"+limit+"=off")
	}
	for _, setting := range settings {
		env = append(env, "PASSMEND_"+setting)
	}
	p, err := start(ctx, s.b.Binary, env, "serve")
	if err != nil {
		return nil, err
	}
	p.http, p.admin = http, admin
	return p, nil
}

// freeAddress gives an address of loopback that nobody listens on just now.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// load is the ordinary load on a process.
func (s *site) load(p *process, connections int) load {
	return load{address: p.http, connections: connections, next: s.spread(), warm: min(warmUp, s.b.Length), length: s.b.Length}
}

// served starts a server, hands it out, and stops it.
func (s *site) served(ctx context.Context, use func(p *process) error, settings ...string) error {
	p, err := s.serve(ctx, settings...)
	if err != nil {
		return err
	}
	defer p.stop()
	return use(p)
}

// acceptOnly are the settings of a server whose worker is out of the way. A
// SQLite file has one server, which cannot leave a role out: one slot is the least.
func (b *bench) acceptOnly() (setting, note string) {
	if b.sqlite() {
		return "WORKER_SLOTS=1", "the worker has one slot of 128: roles cannot be split on SQLite"
	}
	return "ROLES=api", "the server has the role api; no worker runs"
}

// drain ends everything that is queued, unsent.
func (s *site) drain(ctx context.Context, store *sqlstore.Store) error {
	var cursor tenants.AccountID
	for ctx.Err() == nil {
		claim, err := store.Claim(ctx, core.ClaimAsk{Cursor: cursor, Free: 4 * seeders})
		if err != nil {
			return err
		}
		cursor = claim.Cursor
		if len(claim.Deliveries) == 0 && !claim.Full {
			return nil
		}
		err = each(ctx, len(claim.Deliveries), func(ctx context.Context, i int) error {
			d := claim.Deliveries[i]
			if d.Kind == core.KindResolve {
				_, err := store.Resolve(ctx, d.Account, d.LeaseOf(), core.Plan{Request: d.Request, Suppress: core.ReasonUnknownUser})
				return err
			}
			return store.Settle(ctx, d.Account, d.LeaseOf(), core.Settlement{State: core.DeliveryExpired})
		})
		if err != nil {
			return fmt.Errorf("empty the queue: %w", err)
		}
	}
	return ctx.Err()
}

// each calls do for 0 to n-1, several at a time, until one fails.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(seeders, n) {
		wait.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wait.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}
