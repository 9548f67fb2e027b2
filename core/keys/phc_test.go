package keys

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Known answers. Argon2: test.c of the reference C implementation, salt
// "somesalt"; bcrypt: the tests of crypt_blowfish; scrypt: RFC 7914, section 12, and
// the documentation of passlib; PBKDF2: the vectors of RFC 6070 under SHA-256, and the
// tests of passlib. The one of 16 lanes was made by OpenSSL.
func TestKnownAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, password, hash string }{
		{"argon2id 64 MiB", "password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
		{"argon2id 256 KiB", "password", "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"},
		{"argon2id two lanes", "password", "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc"},
		{"argon2i 256 KiB", "password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"},
		{"pbkdf2", "passwordPASSWORDpassword", "$pbkdf2-sha256$i=4096,l=40$c2FsdFNBTFRzYWx0U0FMVHNhbHRTQUxUc2FsdFNBTFRzYWx0$NIyJ28vTKy8y2BS4EW6EzysXNH68GAAYHE4qH7jdU+HGNVGMfaxH6Q"},
		{"pbkdf2 without l", "passwordPASSWORDpassword", "$pbkdf2-sha256$i=4096$c2FsdFNBTFRzYWx0U0FMVHNhbHRTQUxUc2FsdFNBTFRzYWx0$NIyJ28vTKy8y2BS4EW6EzysXNH68GAAYHE4qH7jdU+HGNVGMfaxH6Q"},
		{"pbkdf2 of passlib", "password", "$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ"},
		{"scrypt", "pleaseletmein", "$scrypt$ln=14,r=8,p=1$U29kaXVtQ2hsb3JpZGU$cCO9yzr9c0hGHAbNgf046/2o+7qQT44+qbVD9lRdofLVQylVYT8Pz2LUlwUkKpr55h6F3A1lHkDfzwF7RVdYhw"},
		{"scrypt of passlib", "password", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"},
		{"scrypt of 16 lanes", "password", "$scrypt$ln=10,r=8,p=16$c29tZXNhbHQ$e1joUIaGZcwZ9RLQWIsgq42Lly5HqO2kkqxC+sqELTg"},
		{"bcrypt", "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"bcrypt 2b", "U*U*", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"},
		{"bcrypt 2y", "U*U*U", "$2y$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"},
		{"bcrypt of nothing", "", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			parsed, err := parseHash(c.hash)
			if err != nil {
				t.Fatal(err)
			}
			if !parsed.matches([]byte(c.password)) {
				t.Error("the right password does not match")
			}
			if parsed.matches([]byte(c.password + "x")) {
				t.Error("a wrong password matches")
			}
			if parsed.cost == currentCost() {
				t.Error("the hash passes for one of today's")
			}
		})
	}
}

func TestNewHashesAreTodays(t *testing.T) {
	t.Parallel()
	salt := []byte("0123456789abcdef")
	text := newHash([]byte("correct horse"), salt)
	if !strings.HasPrefix(text, "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$") || len(text) != 97 {
		t.Errorf("PHC string of %d characters: %q", len(text), text[:min(60, len(text))])
	}
	parsed, err := parseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(currentCost(), parsed.cost, cmp.AllowUnexported(cost{})); diff != "" {
		t.Error(diff)
	}
	if !parsed.matches([]byte("correct horse")) || parsed.matches([]byte("correct horsE")) {
		t.Error("the hash does not tell right from wrong")
	}
}

const (
	soundArgon  = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	soundBcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	soundPBKDF2 = "$pbkdf2-sha256$i=10000$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
	soundScrypt = "$scrypt$ln=14,r=8,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4"
)

func TestHashesOutOfBoundsAreRefused(t *testing.T) {
	t.Parallel()
	argon := func(old, new string) string { return strings.Replace(soundArgon, old, new, 1) }
	bcrypt := func(old, new string) string { return strings.Replace(soundBcrypt, old, new, 1) }
	pbkdf2 := func(old, new string) string { return strings.Replace(soundPBKDF2, old, new, 1) }
	scrypt := func(old, new string) string { return strings.Replace(soundScrypt, old, new, 1) }
	for name, text := range map[string]string{
		"empty":                  "",
		"plain":                  "correct horse",
		"prefix alone":           "$argon2id$",
		"argon2d":                argon("argon2id", "argon2d"),
		"upper case":             argon("argon2id", "ARGON2ID"),
		"memory over 128 MiB":    argon("m=256", "m=131073"),
		"memory of 4 TiB":        argon("m=256", "m=4294967295"),
		"memory overflows":       argon("m=256", "m=4294967552"),
		"memory under 8":         argon("m=256", "m=7"),
		"memory under 8 a lane":  argon("m=256,t=2,p=1", "m=127,t=2,p=16"),
		"memory negative":        argon("m=256", "m=-256"),
		"memory with a plus":     argon("m=256", "m=+256"),
		"memory with a zero":     argon("m=256", "m=0256"),
		"memory in hexadecimal":  argon("m=256", "m=0x100"),
		"memory with underscore": argon("m=256", "m=2_56"),
		"no passes":              argon("t=2", "t=0"),
		"passes over 10":         argon("t=2", "t=11"),
		"no lanes":               argon("p=1", "p=0"),
		"lanes over 16":          argon("p=1", "p=17"),
		"lanes wrap to one":      argon("p=1", "p=257"),
		"other order":            argon("m=256,t=2,p=1", "t=2,m=256,p=1"),
		"a parameter twice":      argon("m=256,t=2,p=1", "m=256,t=2,p=1,p=1"),
		"key id":                 argon("p=1", "p=1,keyid=aaaa"),
		"data":                   argon("p=1", "p=1,data=aaaa"),
		"no version":             argon("$v=19", ""),
		"version 16":             argon("v=19", "v=16"),
		"salt too short":         argon("c29tZXNhbHQ", "c29tZXNhbA"),
		"salt too long":          argon("c29tZXNhbHQ", strings.Repeat("A", 88)),
		"no salt":                argon("c29tZXNhbHQ", ""),
		"key too short":          argon("nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "nf65EOgLrQMR/uIPnA4r"),
		"key too long":           argon("nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", strings.Repeat("A", 88)),
		"no key":                 argon("nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", ""),
		"padding":                soundArgon + "=",
		"stray bits":             argon("Gi/4", "Gi/5"),
		"url alphabet":           argon("QMR/uI", "QMR_uI"),
		"line feed":              soundArgon + "\n",
		"line feed inside":       argon("c29t", "c29\nt"),
		"a part more":            soundArgon + "$",
		"over 256 characters":    soundArgon + strings.Repeat(" ", 200),

		"bcrypt cost 3":          bcrypt("$05$", "$03$"),
		"bcrypt cost 16":         bcrypt("$05$", "$16$"),
		"bcrypt cost 31":         bcrypt("$05$", "$31$"),
		"bcrypt cost signed":     bcrypt("$05$", "$+5$"),
		"bcrypt cost negative":   bcrypt("$05$", "$-5$"),
		"bcrypt cost one digit":  bcrypt("$05$", "$5$"),
		"bcrypt 2":               bcrypt("$2a$", "$2$"),
		"bcrypt 2x":              bcrypt("$2a$", "$2x$"),
		"bcrypt 1a":              bcrypt("$2a$", "$1a$"),
		"bcrypt cut":             soundBcrypt[:59],
		"bcrypt longer":          soundBcrypt + "A",
		"bcrypt other alphabet":  bcrypt("CCCC", "CC+C"),
		"bcrypt zero byte":       bcrypt("CCCC", "CC\x00C"),
		"bcrypt not ASCII":       bcrypt("CCCC", "CCé"),
		"pbkdf2 without rounds":  pbkdf2("i=10000", "i=0"),
		"pbkdf2 over a million":  pbkdf2("i=10000", "i=1000001"),
		"pbkdf2 rounds overflow": pbkdf2("i=10000", "i=4294967297"),
		"pbkdf2 of another l":    pbkdf2("i=10000", "i=10000,l=20"),
		"pbkdf2 of SHA-1":        pbkdf2("pbkdf2-sha256", "pbkdf2"),
		"pbkdf2 of SHA-512":      pbkdf2("pbkdf2-sha256", "pbkdf2-sha512"),
		"pbkdf2 of Django":       "pbkdf2_sha256$10000$somesalt$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4=",
		"pbkdf2 mixed alphabets": pbkdf2("i=10000", "10000") + "+",
		"pbkdf2 short salt":      pbkdf2("c29tZXNhbHQ", "c29tZXNhbA"),
		"scrypt N·r over":        scrypt("ln=14,r=8", "ln=17,r=9"),
		"scrypt N over":          scrypt("ln=14,r=8", "ln=21,r=1"),
		"scrypt N·r·p over":      scrypt("ln=14,r=8,p=1", "ln=17,r=8,p=5"),
		"scrypt lanes over":      scrypt("p=1", "p=17"),
		"scrypt without lanes":   scrypt("p=1", "p=0"),
		"scrypt block over":      scrypt("r=8", "r=65"),
		"scrypt of N 1":          scrypt("ln=14", "ln=0"),
		"scrypt other order":     scrypt("ln=14,r=8,p=1", "r=8,ln=14,p=1"),
		"md5-crypt":              "$1$abcdefgh$0123456789abcdefghijkl",
		"scrypt of hostile size": "$scrypt$ln=40,r=8,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
	} {
		if _, err := parseHash(text); !errors.Is(err, errBadHash) || (text != "" && strings.Contains(err.Error(), text)) {
			t.Errorf("%s: %v, want errBadHash without the text", name, err)
		}
	}
	for _, sound := range []string{
		soundArgon, soundBcrypt, soundPBKDF2, soundScrypt,
		// At the bounds themselves.
		argon("m=256,t=2,p=1", "m=131072,t=10,p=16"), bcrypt("$05$", "$15$"), bcrypt("$05$", "$04$"),
		pbkdf2("i=10000", "i=1000000"), scrypt("ln=14,r=8,p=1", "ln=17,r=8,p=4"), scrypt("ln=14,r=8,p=1", "ln=20,r=1,p=4"),
	} {
		if _, err := parseHash(sound); err != nil {
			t.Errorf("control: %v", err)
		}
	}
}

func TestBcryptNeverTruncates(t *testing.T) {
	t.Parallel()
	full := strings.Repeat("a", 72)
	parsed, err := parseHash(bcryptOf(t, full))
	if err != nil {
		t.Fatal(err)
	}
	if !parsed.matches([]byte(full)) {
		t.Error("control: 72 bytes do not match")
	}
	if parsed.matches([]byte(full + "b")) {
		t.Error("the 73rd byte is ignored")
	}
}

func FuzzParseHash(f *testing.F) {
	for _, seed := range []string{
		soundArgon, soundBcrypt, soundPBKDF2, soundScrypt, "$pbkdf2-sha256$1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "", "$argon2i$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA",
		"$argon2id$v=19$m=131072,t=10,p=16$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$2y$15$", "$argon2id$v=19$$$",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := parseHash(text)
		if err != nil {
			if !errors.Is(err, errBadHash) {
				t.Errorf("%v, want errBadHash", err)
			}
			return
		}
		c := parsed.cost
		switch {
		case c.algorithm == "bcrypt" && c.log2 >= 4 && c.log2 <= 15:
		case c.algorithm == "pbkdf2-sha256" && c.passes >= 1 && c.passes <= 1_000_000 && c.salt >= 8 && c.key >= 16 && c.key <= 64:
		case c.algorithm == "scrypt" && c.block<<c.log2 <= 1<<20 && c.block<<c.log2*int(c.threads) <= 1<<22 && c.threads >= 1 && c.salt >= 8 && c.key >= 16:
		case strings.HasPrefix(c.algorithm, "argon2") && c.memory >= 8*uint32(c.threads) && c.memory <= 131_072 &&
			c.passes >= 1 && c.passes <= 10 && c.threads >= 1 && c.threads <= 16 && c.salt >= 8 && c.key >= 16:
		default:
			t.Errorf("accepted out of bounds: %+v", c)
		}
		if c.memory <= 256 && c.passes <= 2 && c.log2 <= 4 && c.block <= 8 {
			parsed.matches([]byte(text)) // must not panic
		}
	})
}
