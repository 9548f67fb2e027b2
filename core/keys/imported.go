package keys

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// Bounds of the hashes that only other systems make (threats.md, Imported hashes).
// That of scrypt's lanes is ours: they are worked through one after another, and at
// the largest size four of them take what bcrypt of cost 15 does.
const (
	maxRounds = 1_000_000

	minLog2N, maxLog2N = 1, 20
	maxBlock           = 64
	maxScryptSize      = 1 << 17 * 8 // N·r; 128 bytes each
	maxScryptWork      = 4 * maxScryptSize
	maxScryptLanes     = 16
)

// weakBcrypt is the cost below which an import warns.
const weakBcrypt = 10

// ImportedHashes says what Import takes, for whoever wrote the file.
const ImportedHashes = "must be a hash in PHC form: $2a$, $2b$ or $2y$ of cost 4 to 15; $argon2id$v=19$ or $argon2i$v=19$ with m to 131072, t to 10 and p to 16; " +
	"$pbkdf2-sha256$ with i to 1000000; $scrypt$ with ln and r so that N·r is at most 2^17·8, and p to 16 so that N·r·p is at most 2^19·8; " +
	"salts of 8 to 64 bytes and keys of 16 to 64 bytes in base64 without padding"

// Import reads the hash that another system made of a user's password, within the
// bounds above, and seals it as those of Hash are. It costs no hashing. Its error
// does not quote the text: use ImportedHashes.
func (p *Passwords) Import(account tenants.AccountID, user core.UserID, text string) (core.ImportedHash, error) {
	read, err := parseHash(text)
	if err != nil {
		return core.ImportedHash{}, fmt.Errorf("import password hash: %w", err)
	}
	sealed, err := p.keys.sealHash(account, user, text)
	if err != nil {
		return core.ImportedHash{}, fmt.Errorf("import password hash: %w", err)
	}
	return core.ImportedHash{
		Sealed: sealed, Algorithm: read.cost.algorithm, Cost: read.cost.text(),
		Weak: read.cost.algorithm == "bcrypt" && read.cost.log2 < weakBcrypt,
	}, nil
}

// Decoy gives a hash that no password matches, for Verify with that account and no
// user, where the address has no user or the user no password. What verifying it
// takes is drawn from what it takes for the account's users, in their shares, and is
// always the same for one address as long as the shares are. nil when everybody's
// hash is of today.
func (p *Passwords) Decoy(account tenants.AccountID, address core.Address, shares []core.HashShare) ([]byte, error) {
	drawn := p.draw(account, address, shares)
	if drawn == "" {
		return nil, nil
	}
	var salt [newSaltBytes]byte
	var key [maxKeyBytes]byte
	_, _ = rand.Read(salt[:]) // never fails (crypto/rand, Go 1.24)
	_, _ = rand.Read(key[:])
	text := string(drawn) + "$" + bcryptTail(salt[:], key[:])
	if !strings.HasPrefix(text, "$2b$") {
		length := newKeyBytes
		if _, after, ok := strings.Cut(string(drawn), ",l="); ok {
			length, _ = strconv.Atoi(after)
		}
		length = min(max(length, minKeyBytes), maxKeyBytes)
		text = string(drawn) + "$" + base64.RawStdEncoding.EncodeToString(salt[:]) + "$" + base64.RawStdEncoding.EncodeToString(key[:length])
	}
	if _, err := parseHash(text); err != nil {
		return nil, nil //nolint:nilerr // a cost of another version of ours; Verify has its own decoy
	}
	return p.keys.sealHash(account, "", text)
}

// draw picks a cost by a keyed hash of the address.
func (p *Passwords) draw(account tenants.AccountID, address core.Address, shares []core.HashShare) core.HashCost {
	total := 0
	for _, share := range shares {
		total += share.Users
	}
	if total == 0 {
		return ""
	}
	digest := p.keys.Digest("decoy", account, []byte(address.Reveal()))
	at := int(binary.BigEndian.Uint64(digest) % uint64(total))
	for _, share := range shares {
		if at < share.Users {
			return share.Cost
		}
		at -= share.Users
	}
	return ""
}

// bcryptTail gives 22 characters of salt and 31 of key. All of them are in bcrypt's
// own alphabet once "+" is not.
func bcryptTail(salt, key []byte) string {
	text := base64.RawStdEncoding.EncodeToString(salt)[:22] + base64.RawStdEncoding.EncodeToString(key)[:31]
	return strings.ReplaceAll(text, "+", ".")
}

// text is the cost as a PHC string has it before the salt; empty for today's.
func (c cost) text() core.HashCost {
	if c == currentCost() {
		return ""
	}
	switch c.algorithm {
	case "bcrypt":
		return core.HashCost(fmt.Sprintf("$2b$%02d", c.log2))
	case "pbkdf2-sha256":
		return core.HashCost(fmt.Sprintf("$pbkdf2-sha256$i=%d,l=%d", c.passes, c.key))
	case "scrypt":
		return core.HashCost(fmt.Sprintf("$scrypt$ln=%d,r=%d,p=%d", c.log2, c.block, c.threads))
	default:
		return core.HashCost(fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d", c.algorithm, c.memory, c.passes, c.threads))
	}
}

// parsePBKDF2 reads i=…$salt$key, also with l=, the key's length; and the older form
// of passlib, which has the rounds alone and "." for "+".
func parsePBKDF2(_, rest string) (hash, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 {
		return hash{}, errBadHash
	}
	parameters, length, sized := strings.Cut(parts[0], ",l=")
	if !strings.HasPrefix(parameters, "i=") && !sized {
		parameters = "i=" + parameters
		parts[1], parts[2] = plainBase64(parts[1]), plainBase64(parts[2])
	}
	rounds, okI := number(parameters, "i=", 1, maxRounds)
	salt, okS := decode(parts[1], minSaltBytes, maxSaltBytes)
	key, okK := decode(parts[2], minKeyBytes, maxKeyBytes)
	if !okI || !okS || !okK || sized && length != strconv.Itoa(len(key)) {
		return hash{}, errBadHash
	}
	made := cost{algorithm: "pbkdf2-sha256", passes: rounds, salt: len(salt), key: len(key)}
	return hash{made, func(password []byte) bool {
		derived, err := pbkdf2.Key(sha256.New, string(password), salt, int(rounds), len(key))
		return err == nil && subtle.ConstantTimeCompare(derived, key) == 1
	}}, nil
}

// plainBase64 turns passlib's alphabet into the common one; "+" itself is not in it.
func plainBase64(text string) string {
	return strings.NewReplacer(".", "+", "+", "!").Replace(text)
}

// parseScrypt reads ln=…,r=…,p=…$salt$key.
func parseScrypt(_, rest string) (hash, error) {
	parts := strings.Split(rest, "$")
	if len(parts) != 3 {
		return hash{}, errBadHash
	}
	parameters := strings.Split(parts[0], ",")
	if len(parameters) != 3 {
		return hash{}, errBadHash
	}
	log2, okN := number(parameters[0], "ln=", minLog2N, maxLog2N)
	block, okR := number(parameters[1], "r=", 1, maxBlock)
	lanes, okP := number(parameters[2], "p=", 1, maxScryptLanes)
	salt, okS := decode(parts[1], minSaltBytes, maxSaltBytes)
	key, okK := decode(parts[2], minKeyBytes, maxKeyBytes)
	if !okN || !okR || !okP || !okS || !okK {
		return hash{}, errBadHash
	}
	if size := block << log2; size > maxScryptSize || size*lanes > maxScryptWork {
		return hash{}, errBadHash
	}
	made := cost{algorithm: "scrypt", log2: int(log2), block: int(block), threads: uint8(lanes), salt: len(salt), key: len(key)}
	return hash{made, func(password []byte) bool {
		derived, err := scrypt.Key(password, salt, 1<<log2, int(block), int(lanes), len(key))
		return err == nil && subtle.ConstantTimeCompare(derived, key) == 1
	}}, nil
}
