package keys

import (
	"bytes"
	"context"
	"errors"
	"regexp"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

func newPasswords(t testing.TB, c PasswordsConfig) *Passwords {
	t.Helper()
	if c.MaxWait == 0 {
		c.MaxWait = time.Minute // the machine of a test may be slow
	}
	passwords, err := NewPasswords(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := passwords.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return passwords
}

func bcryptOf(t testing.TB, password string) string {
	t.Helper()
	return string(must(bcrypt.GenerateFromPassword([]byte(password), 4)))
}

var right, wrong = tenants.NewSecret("correct horse battery staple"), tenants.NewSecret("correct horse battery stapler")

func TestAPasswordMatchesItsOwnHashOnly(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	ctx := t.Context()
	stored := must(passwords.Hash(ctx, ada, user1, right))
	if other := must(passwords.Hash(ctx, ada, user1, right)); bytes.Equal(stored, other) {
		t.Error("hashing twice gives the same bytes")
	}
	altered := bytes.Clone(stored)
	altered[len(altered)-1] ^= 1
	for _, c := range []struct {
		name     string
		account  tenants.AccountID
		user     core.UserID
		stored   []byte
		password tenants.Secret
		matches  bool
		err      error
	}{
		{"right", ada, user1, stored, right, true, nil},
		{"wrong", ada, user1, stored, wrong, false, nil},
		{"empty", ada, user1, stored, tenants.Secret{}, false, nil},
		{"over 1,024 bytes", ada, user1, stored, tenants.NewSecret(strings.Repeat("x", 1<<20)), false, nil},
		{"another account", bob, user1, stored, right, false, ErrBadSeal},
		{"another user", ada, user2, stored, right, false, ErrBadSeal},
		{"no user", ada, "", stored, right, false, ErrBadSeal},
		{"altered", ada, user1, altered, right, false, ErrBadSeal},
		{"not sealed", ada, user1, []byte(soundArgon), right, false, ErrBadSeal},
		{"unknown user", ada, "", nil, right, false, nil},
		{"no password", ada, user1, []byte{}, right, false, nil},
		{"no password, empty typed", ada, user1, nil, tenants.Secret{}, false, nil},
		{"the dummy's own place", "", "", nil, right, false, nil},
		{"malformed inside", ada, user1, must(keys.sealHash(ada, user1, "$argon2id$")), right, false, errBadHash},
		{"bcrypt right", ada, user1, must(keys.sealHash(ada, user1, bcryptOf(t, right.Reveal()))), right, true, nil},
		{"bcrypt wrong", ada, user1, must(keys.sealHash(ada, user1, bcryptOf(t, right.Reveal()))), wrong, false, nil},
	} {
		matches, err := passwords.Verify(ctx, c.account, c.user, c.stored, c.password)
		if matches != c.matches || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v; want %v, %v", c.name, matches, err, c.matches, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "$") {
			t.Errorf("%s: the error shows the hash: %v", c.name, err)
		}
	}
}

func TestLengthOfPasswords(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	longest := tenants.NewSecret(strings.Repeat("\U0001f511", 256)) // 1,024 bytes
	stored := must(passwords.Hash(t.Context(), ada, user1, longest))
	if !must(passwords.Verify(t.Context(), ada, user1, stored, longest)) {
		t.Error("256 code points of four bytes do not match")
	}
	longer := tenants.NewSecret(longest.Reveal() + "x")
	if _, err := passwords.Hash(t.Context(), ada, user1, longer); !errors.Is(err, core.ErrPasswordTooLong) {
		t.Errorf("1,025 bytes: %v, want core.ErrPasswordTooLong", err)
	}
	if must(passwords.Verify(t.Context(), ada, user1, stored, longer)) {
		t.Error("1,025 bytes match the hash of their first 1,024")
	}
}

func TestOutdated(t *testing.T) {
	t.Parallel()
	path, before := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: before})
	fresh := must(passwords.Hash(t.Context(), ada, user1, right))
	sealed := func(phc string) []byte { return must(before.sealHash(ada, user1, phc)) }
	for _, c := range []struct {
		name     string
		stored   []byte
		outdated bool
	}{
		{"today's", fresh, false},
		{"nothing stored", nil, false},
		{"weaker argon2id", sealed(soundArgon), true},
		{"argon2i", sealed(strings.Replace(soundArgon, "argon2id", "argon2i", 1)), true},
		{"bcrypt", sealed(soundBcrypt), true},
	} {
		if _, outdated, err := passwords.Outdated(ada, user1, c.stored); outdated != c.outdated || err != nil {
			t.Errorf("%s: %v, %v; want %v", c.name, outdated, err, c.outdated)
		}
	}
	if _, _, err := passwords.Outdated(bob, user1, fresh); !errors.Is(err, ErrBadSeal) {
		t.Errorf("another account: %v, want ErrBadSeal", err)
	}
	if err := Rotate(path, SlotPepper); err != nil {
		t.Fatal(err)
	}
	rotated := newPasswords(t, PasswordsConfig{Keys: open(t, path)})
	if from, outdated, err := rotated.Outdated(ada, user1, fresh); !outdated || from != "argon2id" || err != nil {
		t.Error("a hash under the old pepper key is not outdated")
	}
	if !must(rotated.Verify(t.Context(), ada, user1, fresh, right)) {
		t.Error("a hash under the old pepper key no longer matches")
	}
}

// verifiable counts the places of a dump at which a known password can be confirmed
// with nothing but the dump.
func verifiable(dump []byte, password string) int {
	found := 0
	for _, at := range regexp.MustCompile(`\$(argon2id?|2[aby])\$[\x21-\x7e]{20,}`).FindAll(dump, -1) {
		for end := len(at); end > 20; end-- {
			if parsed, err := parseHash(string(at[:end])); err == nil && parsed.matches([]byte(password)) {
				found++
				break
			}
		}
	}
	return found
}

// Threat 33. The controls: the same scan finds hashes that are not sealed, and the
// keys file verifies what the scan could not.
func TestADumpWithoutTheKeysVerifiesNoPassword(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	_, stranger := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	var dump, plain []byte
	const rows = 6
	for range rows {
		stored := must(passwords.Hash(t.Context(), ada, user1, right))
		if !must(passwords.Verify(t.Context(), ada, user1, stored, right)) {
			t.Error("control: with the key the row does not verify")
		}
		if _, err := stranger.openHash(ada, user1, stored); !errors.Is(err, ErrBadSeal) {
			t.Errorf("another deployment's key opens the row: %v", err)
		}
		dump = append(append(dump, stored...), '\n')
		plain = append(append(plain, must(keys.openHash(ada, user1, stored))...), '\n')
	}
	if n := verifiable(dump, right.Reveal()); n != 0 || bytes.Contains(dump, []byte("argon2")) {
		t.Errorf("%d of %d rows can be verified from the dump alone", n, rows)
	}
	if n := verifiable(plain, right.Reveal()); n != rows {
		t.Errorf("control: the scan finds %d of %d hashes that are not sealed", n, rows)
	}
}

// Not parallel: it counts what the process allocates. Argon2 takes its 19 MiB or it
// does not, which is the same work or none, on a noisy machine too.
func TestVerifyDoesTheWorkForEveryone(t *testing.T) {
	_, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys, Parallel: 1})
	stored := must(passwords.Hash(t.Context(), ada, user1, right))
	for name, verify := range map[string]func() (bool, error){
		"right":            func() (bool, error) { return passwords.Verify(t.Context(), ada, user1, stored, right) },
		"wrong":            func() (bool, error) { return passwords.Verify(t.Context(), ada, user1, stored, wrong) },
		"unknown user":     func() (bool, error) { return passwords.Verify(t.Context(), ada, "", nil, right) },
		"no password":      func() (bool, error) { return passwords.Verify(t.Context(), ada, user1, nil, tenants.Secret{}) },
		"another account":  func() (bool, error) { return passwords.Verify(t.Context(), bob, user1, stored, right) },
		"over 1,024 bytes": func() (bool, error) { return passwords.Verify(t.Context(), ada, user1, stored, tooLong) },
	} {
		if used := allocated(verify); used < newMemory<<10 || used > (newMemory+1024)<<10 {
			t.Errorf("%s: %d KiB allocated, want one hash of %d KiB", name, used>>10, newMemory)
		}
	}
	if used := allocated(func() (bool, error) { _, outdated, err := passwords.Outdated(ada, user1, stored); return outdated, err }); used > 1<<20 {
		t.Errorf("control: without hashing %d KiB are allocated", used>>10)
	}
}

var tooLong = tenants.NewSecret(strings.Repeat("x", MaxPasswordBytes+1))

func allocated(f func() (bool, error)) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _ = f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// T15 with real hashes. Not parallel: it measures the memory of the process. The
// control lets sixteen run at once, and has to break the bound that two keep.
func TestFiveHundredHashesStayInMemory(t *testing.T) {
	_, keys := setup(t)
	const bound = 150 << 20
	flood := func(parallel int) (grown uint64, served, busy int64) {
		passwords := newPasswords(t, PasswordsConfig{Keys: keys, Parallel: parallel, Queue: 14})
		runtime.GC()
		base := held()
		var ok, turned atomic.Int64
		var group sync.WaitGroup
		for range 500 {
			group.Go(func() {
				_, err := passwords.Hash(t.Context(), ada, user1, right)
				switch {
				case err == nil:
					ok.Add(1)
				case errors.Is(err, core.ErrBusy):
					turned.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		done := make(chan struct{})
		go func() { group.Wait(); close(done) }()
		for highest := base; ; {
			highest = max(highest, held())
			select {
			case <-done:
				return highest - base, ok.Load(), turned.Load()
			case <-time.After(time.Millisecond):
			}
		}
	}
	grown, served, busy := flood(2)
	if grown > bound || served < 16 || served+busy != 500 {
		t.Errorf("two at a time: %d MiB more, %d served, %d turned away", grown>>20, served, busy)
	}
	if grown, _, _ := flood(16); grown <= bound {
		t.Errorf("control: sixteen at a time take only %d MiB more", grown>>20)
	}
}

// held is the memory of the heap that is in use or not yet collected.
func held() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func TestTheObserverHearsOfEveryJob(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	var mutex sync.Mutex
	heard := map[string]int{}
	passwords := newPasswords(t, PasswordsConfig{
		Keys: keys, Parallel: 1, Queue: 1, MaxWait: time.Nanosecond,
		Observe: func(_ context.Context, op string, wait, work time.Duration) {
			mutex.Lock()
			defer mutex.Unlock()
			heard[op]++
			if wait < 0 || (op == OpRejected) != (work == 0) {
				t.Errorf("%s waited %v and worked %v", op, wait, work)
			}
		},
	})
	stored := must(passwords.Hash(t.Context(), ada, user1, right))
	must(passwords.Verify(t.Context(), ada, user1, stored, right))
	must(passwords.Verify(t.Context(), ada, user1, nil, right))
	passwords.gate.permits <- struct{}{} // somebody else is at work
	if running, waiting := passwords.Load(); running != 1 || waiting != 0 {
		t.Errorf("%d running, %d waiting; want 1, 0", running, waiting)
	}
	_, hashed := passwords.Hash(t.Context(), ada, user1, right)
	matches, verified := passwords.Verify(t.Context(), ada, user1, stored, right)
	<-passwords.gate.permits
	if !errors.Is(hashed, core.ErrBusy) || !errors.Is(verified, core.ErrBusy) || matches {
		t.Errorf("%v and %v, want core.ErrBusy", hashed, verified)
	}
	mutex.Lock()
	defer mutex.Unlock()
	if heard[OpHash] != 1 || heard[OpVerify] != 2 || heard[OpRejected] != 2 {
		t.Errorf("heard %v", heard)
	}
}

// A caller that leaves early gets no answer; Stop waits for the job it left behind.
func TestACallerMayLeave(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	ctx, hangUp := context.WithCancel(t.Context())
	release := make(chan struct{})
	passwords := newPasswords(t, PasswordsConfig{Keys: keys, Parallel: 1, Observe: func(_ context.Context, op string, _, _ time.Duration) {
		if op == OpVerify { // the job has not ended before this returns
			hangUp()
			<-release
		}
	}})
	stored := must(passwords.Hash(ctx, ada, user1, right))
	if matches, err := passwords.Verify(ctx, ada, user1, stored, right); matches || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v; want context.Canceled", matches, err)
	}
	if err := passwords.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stop does not wait for the job: %v", err)
	}
	close(release)
	if err := passwords.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := passwords.Hash(t.Context(), ada, user1, right); !errors.Is(err, core.ErrBusy) {
		t.Errorf("after stop: %v, want core.ErrBusy", err)
	}
}

func TestPasswordsConfig(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	for name, c := range map[string]PasswordsConfig{
		"no keys":           {},
		"negative parallel": {Keys: keys, Parallel: -1},
		"negative queue":    {Keys: keys, Queue: -1},
		"negative wait":     {Keys: keys, MaxWait: -1},
	} {
		if _, err := NewPasswords(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	passwords := must(NewPasswords(PasswordsConfig{Keys: keys}))
	if g := passwords.gate; cap(g.permits) != runtime.GOMAXPROCS(0) || cap(g.queue) != 64 || g.maxWait != 2*time.Second {
		t.Errorf("defaults are %d, %d, %v", cap(g.permits), cap(g.queue), g.maxWait)
	}
}

// The four must come out alike; see TestVerifyDoesTheWorkForEveryone for the gate.
func BenchmarkVerify(b *testing.B) {
	_, keys := setup(b)
	passwords := newPasswords(b, PasswordsConfig{Keys: keys})
	stored := must(passwords.Hash(b.Context(), ada, user1, right))
	for _, c := range []struct {
		name     string
		stored   []byte
		password tenants.Secret
	}{{"right", stored, right}, {"wrong", stored, wrong}, {"unknown", nil, right}, {"too-long", stored, tooLong}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				must(passwords.Verify(b.Context(), ada, user1, c.stored, c.password))
			}
		})
	}
}

// Sequential hashes/s times cores against the parallel figure: T15 asks for 90 %.
func BenchmarkHash(b *testing.B) {
	_, keys := setup(b)
	passwords := newPasswords(b, PasswordsConfig{Keys: keys, Queue: 10_000})
	b.Run("sequential", func(b *testing.B) {
		for b.Loop() {
			must(passwords.Hash(b.Context(), ada, user1, right))
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hashes/s")
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetParallelism(16)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				must(passwords.Hash(b.Context(), ada, user1, right))
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "hashes/s")
	})
}
