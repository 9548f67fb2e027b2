package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What a host that was killed leaves behind the next one takes away; what a living
// one has, and what is somebody else's, stays.
func TestSocketsOfAKilledHostAreSwept(t *testing.T) {
	t.Parallel()
	dir, sockets := pluginDir(t, "quiet"), socketDir(t)
	keeper := exec.Command(filepath.Join(built, "keeper"), dir, sockets)
	out, err := keeper.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is up
		t.Fatal(err)
	}
	for _, other := range []string{"passmend-other", "another"} {
		if err := os.Mkdir(filepath.Join(sockets, other), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	open := filepath.Join(sockets, "passmend-open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(open, ownerFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if swept := sweep(sockets); swept != 0 {
		t.Errorf("%d directories are swept while their host lives", swept)
	}
	if err := keeper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = keeper.Wait()
	if found, _ := filepath.Glob(filepath.Join(sockets, "*")); len(found) != 4 {
		t.Errorf("before: %v", found) // the control: it did leave one behind
	}
	mine, err := newBase(sockets)
	if err != nil {
		t.Fatal(err)
	}
	if swept := sweep(sockets); swept != 1 {
		t.Errorf("%d directories are swept", swept)
	}
	for _, path := range []string{mine.path, open, filepath.Join(sockets, "passmend-other"), filepath.Join(sockets, "another")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if err := mine.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mine.path); !os.IsNotExist(err) {
		t.Errorf("after remove: %v", err)
	}
}
