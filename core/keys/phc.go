package keys

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// errBadHash never quotes the text: it is a password hash.
var errBadHash = errors.New("password hash is malformed or out of bounds")

// Bounds of a hash that is verified (threats.md, Imported hashes): a hostile
// parameter would be a bomb that goes off at sign-in.
const (
	maxHashChars = 256

	maxMemory  = 131_072 // KiB
	maxPasses  = 10
	maxThreads = 16

	minSaltBytes, maxSaltBytes = 8, 64
	minKeyBytes, maxKeyBytes   = 16, 64

	minBcryptCost, maxBcryptCost = 4, 15
	maxBcryptBytes               = 72
)

// The parameters of new hashes: 19 MiB, two passes, one lane (OWASP; threats.md, Hashing).
const (
	newMemory    = 19_456 // KiB
	newPasses    = 2
	newThreads   = 1
	newSaltBytes = 16
	newKeyBytes  = 32
)

// cost is what a hash is made with, its fields zero where the algorithm has no such
// thing. Two hashes of equal cost take the same work.
type cost struct {
	algorithm string
	memory    uint32 // KiB
	passes    uint32
	threads   uint8
	salt, key int // bytes
	log2      int // bcrypt, and scrypt's N
	block     int // scrypt's r
}

func currentCost() cost {
	return cost{
		algorithm: "argon2id", memory: newMemory, passes: newPasses, threads: newThreads,
		salt: newSaltBytes, key: newKeyBytes,
	}
}

// hash is a stored hash, ready to be compared with a password.
type hash struct {
	cost    cost
	matches func(password []byte) bool
}

// format reads one kind of hash: rest is what follows the prefix.
type format struct {
	prefix string
	parse  func(prefix, rest string) (hash, error)
}

// formats is every kind that is verified.
func formats() []format {
	return []format{
		{"$argon2id$", parseArgon2},
		{"$argon2i$", parseArgon2},
		{"$2a$", parseBcrypt},
		{"$2b$", parseBcrypt},
		{"$2y$", parseBcrypt},
		{"$pbkdf2-sha256$", parsePBKDF2},
		{"$scrypt$", parseScrypt},
	}
}

// parseHash is strict and does no work: one spelling a hash, within the bounds.
func parseHash(text string) (hash, error) {
	if len(text) > maxHashChars || strings.ContainsAny(text, "\r\n") {
		return hash{}, errBadHash
	}
	for _, known := range formats() {
		if rest, ok := strings.CutPrefix(text, known.prefix); ok {
			return known.parse(known.prefix, rest)
		}
	}
	return hash{}, errBadHash
}

// newHash makes a PHC string with today's parameters.
func newHash(password, salt []byte) string {
	return encodeHash(salt, argon2.IDKey(password, salt, newPasses, newMemory, newThreads, newKeyBytes))
}

func encodeHash(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, newMemory, newPasses, newThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// parseArgon2 reads v=19$m=…,t=…,p=…$salt$key; no other order, no key id, no data.
func parseArgon2(prefix, rest string) (hash, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 4 || parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return hash{}, errBadHash
	}
	parameters := strings.Split(parts[1], ",")
	if len(parameters) != 3 {
		return hash{}, errBadHash
	}
	memory, okM := number(parameters[0], "m=", 8, maxMemory)
	passes, okT := number(parameters[1], "t=", 1, maxPasses)
	threads, okP := number(parameters[2], "p=", 1, maxThreads)
	salt, okS := decode(parts[2], minSaltBytes, maxSaltBytes)
	key, okK := decode(parts[3], minKeyBytes, maxKeyBytes)
	// Argon2 needs eight blocks a lane (RFC 9106, section 3.1).
	if !okM || !okT || !okP || !okS || !okK || memory < 8*threads {
		return hash{}, errBadHash
	}
	derive := argon2.IDKey
	if prefix == "$argon2i$" {
		derive = argon2.Key
	}
	made := cost{
		algorithm: strings.Trim(prefix, "$"), memory: memory, passes: passes, threads: uint8(threads),
		salt: len(salt), key: len(key),
	}
	return hash{made, func(password []byte) bool {
		derived := derive(password, salt, made.passes, made.memory, made.threads, uint32(len(key)))
		return subtle.ConstantTimeCompare(derived, key) == 1
	}}, nil
}

// parseBcrypt reads NN$ and 53 characters of bcrypt's own base64.
func parseBcrypt(prefix, rest string) (hash, error) {
	if len(rest) != 56 || rest[2] != '$' || strings.ContainsFunc(rest[3:], notBcrypt64) {
		return hash{}, errBadHash
	}
	log2, err := strconv.Atoi(rest[:2])
	if err != nil || rest[0] < '0' || rest[0] > '9' || log2 < minBcryptCost || log2 > maxBcryptCost {
		return hash{}, errBadHash
	}
	stored := []byte(prefix + rest)
	return hash{cost{algorithm: "bcrypt", log2: log2}, func(password []byte) bool {
		// Bcrypt sees 72 bytes and no more. The work is done all the same, and the
		// answer is no.
		fits := len(password) <= maxBcryptBytes
		if !fits {
			password = password[:maxBcryptBytes]
		}
		return bcrypt.CompareHashAndPassword(stored, password) == nil && fits
	}}, nil
}

// number reads a decimal without sign or leading zero.
func number(text, name string, least, most uint32) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	if !ok || digits == "" || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), err == nil && uint32(n) >= least && uint32(n) <= most
}

func decode(text string, least, most int) ([]byte, bool) {
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return raw, err == nil && len(raw) >= least && len(raw) <= most
}

func notBcrypt64(r rune) bool {
	return !('A' <= r && r <= 'Z' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '/')
}
