package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Bounds of metadata (contract.md, A4).
const (
	MaxMetadataBytes = 16 << 10 // without white space
	MaxMetadataDepth = 4        // the object itself is the first level
	MaxMetadataKeys  = 64       // of the object itself
	// maxExponentDigits keeps numbers within what both engines compute with.
	maxExponentDigits = 3
)

// ParseMetadata reads a JSON object and gives it without white space, numbers as they
// were written; nil for an empty one. A *FieldError of the field metadata.
func ParseMetadata(raw []byte) (json.RawMessage, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil || !utf8.Valid(raw) || compact.Len() == 0 || compact.Bytes()[0] != '{' {
		return nil, metadataFlaw("INVALID", "must be a JSON object")
	}
	if compact.Len() > MaxMetadataBytes {
		return nil, metadataFlaw("TOO_LONG", fmt.Sprintf("is too long (maximum is %d bytes)", MaxMetadataBytes))
	}
	if err := judgeMetadata(json.NewDecoder(bytes.NewReader(compact.Bytes()))); err != nil {
		return nil, err
	}
	if compact.Len() == len("{}") {
		return nil, nil
	}
	return compact.Bytes(), nil
}

func metadataFlaw(code, text string) error {
	return &FieldError{Field: "metadata", Code: code, Text: text}
}

// judgeMetadata walks through an object that is known to be JSON.
func judgeMetadata(tokens *json.Decoder) error {
	tokens.UseNumber()
	depth, topLevel := 0, 0 // topLevel counts names and values of the object itself
	for {
		token, err := tokens.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return metadataFlaw("INVALID", "must be a JSON object")
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '}' || t == ']' {
				depth--
				continue
			}
			if depth++; depth == 2 {
				topLevel++
			}
			if depth > MaxMetadataDepth {
				return metadataFlaw("TOO_DEEP", fmt.Sprintf("is nested too deep (maximum is %d levels)", MaxMetadataDepth))
			}
			continue
		case json.Number:
			if !computable(t.String()) {
				return metadataFlaw("INVALID", "holds a number that is out of range")
			}
		case string:
			// Half a surrogate pair is read as U+FFFD, and PostgreSQL refuses it.
			if strings.ContainsRune(t, 0) || strings.ContainsRune(t, utf8.RuneError) {
				return metadataFlaw("INVALID", "holds a character that is not allowed")
			}
		}
		if depth == 1 {
			topLevel++
		}
	}
	if topLevel/2 > MaxMetadataKeys {
		return metadataFlaw("TOO_LONG", fmt.Sprintf("has too many keys (maximum is %d)", MaxMetadataKeys))
	}
	return nil
}

func computable(number string) bool {
	_, exponent, found := strings.Cut(strings.ToLower(number), "e")
	return !found || len(strings.TrimLeft(exponent, "+-0")) <= maxExponentDigits
}
