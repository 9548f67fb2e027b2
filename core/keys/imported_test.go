package keys

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Vectors of the reference C implementation, made once with its command (argon2 -e):
// two kinds, 1 to 4 passes, 8 to 2,048 KiB, 1 to 8 lanes, passwords beyond ASCII.
func TestAThousandHashesOfTheReferenceImplementation(t *testing.T) {
	t.Parallel()
	lines := bufio.NewScanner(bytes.NewReader(read(t, "testdata/argon2.txt")))
	n := 0
	for lines.Scan() {
		n++
		password, text, _ := strings.Cut(lines.Text(), "\t")
		parsed, err := parseHash(text)
		if err != nil {
			t.Fatalf("vector %d: %v", n, err)
		}
		if !parsed.matches([]byte(password)) {
			t.Errorf("vector %d: the password does not match", n)
		}
		if n%50 == 0 && parsed.matches([]byte(password+"x")) {
			t.Errorf("vector %d: a wrong password matches", n)
		}
	}
	if n != 1000 {
		t.Errorf("%d vectors, want 1,000", n)
	}
}

func TestImportedHashesAreSealedAsOurs(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	const password = "U*U"
	for _, c := range []struct {
		text, algorithm string
		cost            core.HashCost
		weak            bool
	}{
		{soundBcrypt, "bcrypt", "$2b$05", true},
		{strings.Replace(soundBcrypt, "$2a$05$", "$2y$10$", 1), "bcrypt", "$2b$10", false},
		{soundArgon, "argon2id", "$argon2id$v=19$m=256,t=2,p=1", false},
		{soundPBKDF2, "pbkdf2-sha256", "$pbkdf2-sha256$i=10000,l=32", false},
		{"$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ", "pbkdf2-sha256", "$pbkdf2-sha256$i=1212,l=32", false},
		{soundScrypt, "scrypt", "$scrypt$ln=14,r=8,p=1", false},
		{newHash([]byte(password), []byte("0123456789abcdef")), "argon2id", "", false},
	} {
		imported, err := passwords.Import(ada, user1, c.text)
		if err != nil {
			t.Fatal(err)
		}
		if imported.Algorithm != c.algorithm || imported.Cost != c.cost || imported.Weak != c.weak {
			t.Errorf("%s: %s %q weak %v", c.text[:12], imported.Algorithm, imported.Cost, imported.Weak)
		}
		if bytes.Contains(imported.Sealed, []byte(c.text[len(c.text)-20:])) {
			t.Errorf("%s: the hash is stored as it came", c.text[:12])
		}
		if opened := must(keys.openHash(ada, user1, imported.Sealed)); opened != c.text {
			t.Errorf("%s: it is not what was imported", c.text[:12])
		}
		if _, err := keys.openHash(ada, user2, imported.Sealed); !errors.Is(err, ErrBadSeal) {
			t.Errorf("%s: another user's: %v", c.text[:12], err)
		}
		from, outdated, err := passwords.Outdated(ada, user1, imported.Sealed)
		if from != c.algorithm || outdated != (c.cost != "") || err != nil {
			t.Errorf("%s: outdated %v, from %q, %v", c.text[:12], outdated, from, err)
		}
	}
	stored := must(passwords.Import(ada, user1, soundBcrypt)).Sealed
	if !must(passwords.Verify(t.Context(), ada, user1, stored, tenants.NewSecret(password))) {
		t.Error("the password does not match its imported hash")
	}
	if must(passwords.Verify(t.Context(), ada, user1, stored, tenants.NewSecret(password+"!"))) {
		t.Error("a wrong password matches the imported hash")
	}
}

// A hostile parameter is a bomb that goes off at sign-in: it is refused without any of
// its work.
func TestHostileHashesAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	const tail = "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	for _, text := range []string{
		"$2a$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"$2y$16$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"$argon2id$v=19$m=4194304,t=1,p=1" + tail, "$argon2id$v=19$m=131073,t=1,p=1" + tail,
		"$argon2i$v=19$m=65536,t=4294967295,p=1" + tail, "$argon2id$v=19$m=65536,t=3,p=255" + tail,
		"$pbkdf2-sha256$i=4294967295" + tail, "$pbkdf2-sha256$1000001" + tail,
		"$scrypt$ln=31,r=8,p=1" + tail, "$scrypt$ln=17,r=8,p=1024" + tail, "$scrypt$ln=1,r=1073741823,p=1" + tail,
		"$argon2id$v=19$m=65536,t=3,p=4" + strings.Repeat(tail, 10_000),
	} {
		began := time.Now()
		_, err := passwords.Import(ada, user1, text)
		if took := time.Since(began); !errors.Is(err, errBadHash) || took > 5*time.Millisecond {
			t.Errorf("%.40s: %v after %v", text, err, took)
		}
		if err != nil && strings.Contains(err.Error(), "c29t") {
			t.Errorf("the error quotes the hash: %v", err)
		}
	}
}

// Of addresses that nobody has, each has its own cost, always the same, and all of
// them together have the mix of the account's users.
func TestDecoysHaveTheMixOfTheAccount(t *testing.T) {
	t.Parallel()
	_, keys := setup(t)
	passwords := newPasswords(t, PasswordsConfig{Keys: keys})
	shares := []core.HashShare{
		{Cost: "$2b$04", Users: 500}, {Cost: "$pbkdf2-sha256$i=1000,l=64", Users: 200}, {Cost: "$scrypt$ln=4,r=8,p=1", Users: 100},
		{Cost: "$argon2i$v=19$m=64,t=1,p=1", Users: 100}, {Cost: "", Users: 100},
	}
	const n = 4000
	drawn := make(map[core.HashCost]int)
	for i := range n {
		address := must(core.ParseAddress(fmt.Sprintf("user%d@example.com", i)))
		stored := must(passwords.Decoy(ada, address, shares))
		var cost core.HashCost
		if stored != nil {
			cost = must(passwords.read(ada, "", stored)).cost.text()
		}
		drawn[cost]++
		if again := passwords.draw(ada, address, shares); again != cost {
			t.Fatalf("an address has the cost %q and then %q", cost, again)
		}
		if i < 20 {
			if matches, err := passwords.Verify(t.Context(), ada, "", stored, right); matches || err != nil {
				t.Errorf("a decoy: %v, %v", matches, err)
			}
		}
	}
	for _, share := range shares {
		want := float64(n) * float64(share.Users) / 1000
		if got := float64(drawn[share.Cost]); math.Abs(got-want) > 6*math.Sqrt(want) {
			t.Errorf("%q: %v of %d, want about %v", share.Cost, got, n, want)
		}
	}
	address := must(core.ParseAddress("ada@example.com"))
	for _, none := range [][]core.HashShare{nil, {{Cost: "", Users: 10}}, {{Cost: "$later$x=1", Users: 10}}} {
		if stored, err := passwords.Decoy(ada, address, none); stored != nil || err != nil {
			t.Errorf("%v: a decoy of %d bytes, %v", none, len(stored), err)
		}
	}
}
