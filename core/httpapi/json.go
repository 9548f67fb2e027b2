package httpapi

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"
)

// Why a body could not be read (contract.md, C7 and R20).
var (
	errJSON     = errors.New("body is not acceptable JSON")
	errEncoding = errors.New("body is not UTF-8 or holds NUL")
)

// maxDepth is how deep objects and arrays may nest (threats.md, row 23).
const maxDepth = 8

// kind is a JSON type as error texts name it.
type kind string

const (
	kindNull    kind = "null"
	kindString  kind = "string"
	kindInteger kind = "integer"
	kindFloat   kind = "float"
	kindBoolean kind = "boolean"
	kindObject  kind = "object"
	kindArray   kind = "array"
)

// node is one JSON value.
type node struct {
	kind    kind
	text    string // of a string, or a number as it was written
	truth   bool
	members []member // of an object, in the order of the body
	items   []node   // of an array
	raw     []byte   // of an object, as it was written
}

type member struct {
	name  string // as sent
	value node
}

// member gives the member of that name, in any case and style.
func (n node) member(name string) (node, bool) {
	for _, m := range n.members {
		if foldName(m.name) == foldName(name) {
			return m.value, true
		}
	}
	return node{}, false
}

// foldName makes passwordResetToken, password_reset_token, password-reset-token
// and PASSWORD_RESET_TOKEN one (contract.md, C3). Only ASCII folds.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '_' || r == '-':
			return -1
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		default:
			return r
		}
	}, name)
}

// parseJSON reads one JSON text (RFC 8259), strictly: the standard library's
// decoder would take a member sent twice, a lone surrogate, and bytes that are no
// UTF-8, and each of them has been a way to say two things to two readers. Nothing
// but white space gives nil. errJSON, errEncoding.
func parseJSON(body []byte) (*node, error) {
	if !utf8.Valid(body) || bytes.IndexByte(body, 0) >= 0 {
		return nil, errEncoding
	}
	s := &scanner{rest: body}
	s.space()
	if len(s.rest) == 0 {
		return nil, nil
	}
	root, err := s.value(1)
	if err != nil {
		return nil, err
	}
	s.space()
	if len(s.rest) != 0 {
		return nil, errJSON
	}
	return &root, nil
}

// scanner walks through valid UTF-8 without NUL.
type scanner struct{ rest []byte }

func (s *scanner) space() {
	for len(s.rest) > 0 && strings.IndexByte(" \t\r\n", s.rest[0]) >= 0 {
		s.rest = s.rest[1:]
	}
}

// skip passes a literal, if it is next.
func (s *scanner) skip(literal string) bool {
	if !bytes.HasPrefix(s.rest, []byte(literal)) {
		return false
	}
	s.rest = s.rest[len(literal):]
	return true
}

func (s *scanner) value(depth int) (node, error) {
	if len(s.rest) == 0 {
		return node{}, errJSON
	}
	switch s.rest[0] {
	case '{':
		return s.object(depth)
	case '[':
		return s.array(depth)
	case '"':
		text, err := s.string()
		return node{kind: kindString, text: text}, err
	}
	switch {
	case s.skip("null"):
		return node{kind: kindNull}, nil
	case s.skip("true"):
		return node{kind: kindBoolean, truth: true}, nil
	case s.skip("false"):
		return node{kind: kindBoolean}, nil
	default:
		return s.number()
	}
}

func (s *scanner) object(depth int) (node, error) {
	result, start := node{kind: kindObject}, s.rest
	seen := map[string]bool{}
	err := s.list(depth, '}', func() error {
		name, err := s.string()
		if err != nil {
			return err
		}
		folded := foldName(name)
		if seen[folded] {
			return errJSON
		}
		seen[folded] = true
		s.space()
		if !s.skip(":") {
			return errJSON
		}
		s.space()
		value, err := s.value(depth + 1)
		result.members = append(result.members, member{name, value})
		return err
	})
	result.raw = start[:len(start)-len(s.rest)]
	return result, err
}

func (s *scanner) array(depth int) (node, error) {
	result := node{kind: kindArray}
	err := s.list(depth, ']', func() error {
		item, err := s.value(depth + 1)
		result.items = append(result.items, item)
		return err
	})
	return result, err
}

// list walks through what stands between brackets, parted by commas.
func (s *scanner) list(depth int, end byte, item func() error) error {
	if depth > maxDepth {
		return errJSON
	}
	s.rest = s.rest[1:]
	s.space()
	if s.skip(string(end)) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		s.space()
		if s.skip(string(end)) {
			return nil
		}
		if !s.skip(",") {
			return errJSON
		}
		s.space()
	}
}

func (s *scanner) number() (node, error) {
	start := s.rest
	s.skip("-")
	if !s.skip("0") && s.digits() == 0 {
		return node{}, errJSON
	}
	result := node{kind: kindInteger}
	if s.skip(".") {
		result.kind = kindFloat
		if s.digits() == 0 {
			return node{}, errJSON
		}
	}
	if s.skip("e") || s.skip("E") {
		result.kind = kindFloat
		if !s.skip("+") {
			s.skip("-")
		}
		if s.digits() == 0 {
			return node{}, errJSON
		}
	}
	result.text = string(start[:len(start)-len(s.rest)])
	return result, nil
}

func (s *scanner) digits() (n int) {
	for n < len(s.rest) && '0' <= s.rest[n] && s.rest[n] <= '9' {
		n++
	}
	s.rest = s.rest[n:]
	return n
}

func (s *scanner) string() (string, error) {
	if !s.skip(`"`) {
		return "", errJSON
	}
	var text []byte
	for len(s.rest) > 0 {
		switch c := s.rest[0]; {
		case c == '"':
			s.rest = s.rest[1:]
			return string(text), nil
		case c < 0x20:
			return "", errJSON
		case c == '\\':
			r, err := s.escape()
			if err != nil {
				return "", err
			}
			text = utf8.AppendRune(text, r)
		default:
			text = append(text, c)
			s.rest = s.rest[1:]
		}
	}
	return "", errJSON
}

// shortEscapes are those of RFC 8259, section 7.
const (
	shortEscapes = `"\/bfnrt`
	shortMeaning = "\"\\/\b\f\n\r\t"
)

// escape reads what begins with a backslash. A surrogate without its other half
// is no character, and NUL ends strings in too many places behind us.
func (s *scanner) escape() (rune, error) {
	if len(s.rest) < 2 {
		return 0, errJSON
	}
	if at := strings.IndexByte(shortEscapes, s.rest[1]); at >= 0 {
		s.rest = s.rest[2:]
		return rune(shortMeaning[at]), nil
	}
	unit, ok := s.hexUnit()
	if !ok {
		return 0, errJSON
	}
	switch {
	case unit == 0 || (0xdc00 <= unit && unit < 0xe000):
		return 0, errEncoding
	case unit < 0xd800 || unit >= 0xe000:
		return unit, nil
	}
	low, ok := s.hexUnit()
	if !ok || low < 0xdc00 || low >= 0xe000 {
		return 0, errEncoding
	}
	return 0x10000 + (unit-0xd800)<<10 + (low - 0xdc00), nil
}

// hexUnit reads \u and four hexadecimal digits.
func (s *scanner) hexUnit() (unit rune, ok bool) {
	if len(s.rest) < 6 || s.rest[0] != '\\' || s.rest[1] != 'u' {
		return 0, false
	}
	for _, c := range s.rest[2:6] {
		switch {
		case '0' <= c && c <= '9':
			unit = unit<<4 + rune(c-'0')
		case 'a' <= c && c <= 'f':
			unit = unit<<4 + rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			unit = unit<<4 + rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	s.rest = s.rest[6:]
	return unit, true
}
