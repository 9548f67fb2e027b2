package oncall

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// load is what people do, and what goes wrong, over and over until stop is called.
func load(t *testing.T, deployed *deployment, developed *development) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		spent := 0
		repeat(ctx, 100*time.Millisecond, func(n int) { deployed.round(n); spent = deployed.spend(spent) })
	})
	done.Go(func() {
		brought := 0
		repeat(ctx, 250*time.Millisecond, func(int) { brought = deployed.bring(brought) })
	})
	done.Go(func() { repeat(ctx, 500*time.Millisecond, developed.round) })
	done.Go(func() { goWrong(ctx, deployed, developed) })
	return func() { cancel(); done.Wait() }
}

// repeat calls do with a pause between, at most some thousand times.
func repeat(ctx context.Context, pause time.Duration, do func(n int)) {
	for n := 0; n < 3000 && wait(ctx, pause); n++ {
		do(n)
	}
}

// wait says whether ctx lasted.
func wait(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// round is a person of the deployment's, and some who are none.
func (s *deployment) round(n int) {
	address := fmt.Sprintf("u%d@example.com", n)
	if n%7 == 3 {
		address = fmt.Sprintf("refused%d@example.com", n)
	}
	s.send("POST", "/v1/accounts/acme/users", fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q,"firstName":"Ada"}}}`, address))
	for range 1 + n%2*4 { // now and then more than a recipient may have
		s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":%q}}`, address))
	}
	s.send("POST", "/v1/accounts/acme/passwords", fmt.Sprintf(`{"meta":{"email":"nobody%d@example.com"}}`, n))
	s.send("POST", "/v1/accounts/acme/passwords", `{"meta":`)
	s.send("GET", "/acme/r/AQ"+strings.Repeat("x", 41), "")
	s.send("GET", "/acme/forgot", "")
	s.send("GET", "/nowhere", "")
	s.send("POST", "/v1/accounts/acme/users/"+address+"/actions/reset-password", `{"meta":{"passwordResetToken":"AQ`+strings.Repeat("x", 41)+`","newPassword":"a new one, remembered"}}`)
	s.send("POST", "/v1/accounts/acme/tokens", "", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(address+":wrong one")))
}

var tokenForm = regexp.MustCompile(`/acme/r/(A[A-Za-z0-9_-]{42})`)

// spend opens and redeems the link of the next mail, if there is one.
func (s *deployment) spend(next int) int {
	mails := s.relay.Messages()
	if next >= len(mails) {
		return next
	}
	found := tokenForm.FindStringSubmatch(strings.ReplaceAll(string(mails[next].Raw), "=\r\n", ""))
	if found != nil {
		s.send("GET", "/acme/r/"+found[1], "")
		s.send("POST", "/v1/accounts/acme/users/"+mails[next].To[0]+"/actions/reset-password",
			fmt.Sprintf(`{"meta":{"passwordResetToken":%q,"newPassword":"a new one, remembered"}}`, found[1]))
	}
	return next + 1
}

// bring hands what the relay took for the canary to its inbox, as the mail service
// of its domain does.
func (s *deployment) bring(next int) int {
	mails := s.relay.Messages()
	for ; next < len(mails); next++ {
		if mail := mails[next]; strings.HasPrefix(mail.To[0], "canary+") {
			// What the inbox does not take is a reset that did not come through: the next
			// is a minute away.
			_ = smtp.SendMail(s.inbox, nil, "bounces@relay.example", mail.To, mail.Raw)
		}
	}
	return next
}

// round makes a person and asks for a link: two events.
func (s *development) round(n int) {
	address := fmt.Sprintf("u%d@example.com", n)
	s.asAdmin("POST", "/users", fmt.Sprintf(`{"data":{"type":"users","attributes":{"email":%q}}}`, address))
	s.asAdmin("POST", "/passwords", fmt.Sprintf(`{"meta":{"email":%q,"deliver":false}}`, address))
}

// goWrong does what goes wrong, by the clock: a plugin's process dies that has been up
// for long enough to be started again at once, each in turn, and a database is locked.
func goWrong(ctx context.Context, deployed *deployment, developed *development) {
	faults := []func(){
		func() { deployed.kill(ctx, "smtp") },
		func() { developed.lockDatabase(ctx) },
		func() { deployed.kill(ctx, "webhook") },
		func() { developed.kill(ctx, "smtp") },
		func() { developed.kill(ctx, "webhook") },
	}
	for _, fault := range faults {
		if !wait(ctx, 20*time.Second) {
			return
		}
		fault()
	}
}

// kill ends a plugin's process the hard way, once there is one.
func (s *live) kill(ctx context.Context, plugin string) {
	for pid := 0; pid == 0 && wait(ctx, time.Second); {
		if pid = s.child("passmend-" + plugin); pid != 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// child gives the service's process that has a name in its command line; 0: none.
func (s *live) child(name string) (pid int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.cmd.Process.Pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(children)) {
			command, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if pid, err := strconv.Atoi(child); err == nil && strings.Contains(string(command), name) {
				return pid
			}
		}
	}
	return 0
}

// writerLock is the byte of SQLite's shared memory that whoever writes has locked
// (https://sqlite.org/walformat.html, section 2.3).
const writerLock = 120

// lockDatabase has another process than the service write, and not end, until
// operations of the service have failed of it.
func (s *development) lockDatabase(ctx context.Context) {
	file, err := os.OpenFile(filepath.Join(s.dir, "data", "passmend.db-shm"), os.O_RDWR, 0)
	if err != nil {
		s.t.Errorf("lock the database: %v", err)
		return
	}
	defer file.Close() // it frees the lock
	lock := syscall.Flock_t{Type: syscall.F_WRLCK, Start: writerLock, Len: 1}
	for syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &lock) != nil {
		if !wait(ctx, time.Millisecond) { // the service writes just now
			return
		}
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if !wait(ctx, time.Second) || strings.Contains(s.metrics(), "\npassmend_db_errors_total{") {
			return
		}
	}
}
