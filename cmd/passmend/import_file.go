package main

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/passmend/passmend/core"
)

// maxImportLine bounds a line of JSON: metadata of the largest size, escaped.
const maxImportLine = 128 << 10

// importColumns are the members of a line of JSON, and the columns of a CSV.
var importColumns = []string{"email", "passwordHash", "firstName", "lastName", "role", "banned", "metadata", "id"}

var errColumns = fmt.Sprintf("must be among %s, each once", strings.Join(importColumns, ", "))

// importLine is a line of the file, or what is wrong with it.
type importLine struct {
	number int // the first is 1
	record core.UserRecord
	flaw   *core.FieldError
}

// importReader reads the lines of an import's file, one after the other; io.EOF.
type importReader interface {
	next() (importLine, error)
}

func newImportReader(format string, r io.Reader) (importReader, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	if mark, err := in.Peek(3); err == nil && string(mark) == "\xef\xbb\xbf" {
		_, _ = in.Discard(3) // spreadsheets begin a file so
	}
	if format == "csv" {
		return newCSVLines(in)
	}
	return &jsonLines{in: in}, nil
}

// jsonLines reads one JSON object a line; empty lines are passed over.
type jsonLines struct {
	in     *bufio.Reader
	number int
}

func (l *jsonLines) next() (importLine, error) {
	for {
		text, err := l.read()
		if len(text) == 0 && err != nil {
			return importLine{}, err
		}
		l.number++
		line := importLine{number: l.number}
		if len(text) > maxImportLine {
			line.flaw = lineFlaw(fmt.Sprintf("must be at most %d bytes", maxImportLine))
			return line, nil
		}
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		line.record, line.flaw = readJSONRecord(text)
		return line, nil
	}
}

// read gives a line with its end, or the beginning of one that is too long.
func (l *jsonLines) read() ([]byte, error) {
	var text []byte
	for {
		part, err := l.in.ReadSlice('\n')
		if len(text) <= maxImportLine {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

func lineFlaw(accepts string) *core.FieldError {
	return &core.FieldError{Field: "line", Code: "INVALID", Text: accepts}
}

// readJSONRecord reads an object strictly: a name twice, or one that means nothing,
// is no record. No error repeats what stands there: it may be an address.
func readJSONRecord(text []byte) (record core.UserRecord, flaw *core.FieldError) {
	notJSON := lineFlaw("must be one JSON object, as {\"email\": \"ada@example.com\"}")
	if !json.Valid(text) || text[0] != '{' {
		return record, notJSON
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if _, err := decoder.Token(); err != nil {
		return record, notJSON
	}
	seen := make(map[string]bool, len(importColumns))
	for decoder.More() {
		token, err := decoder.Token()
		name, _ := token.(string)
		column := columnOf(name)
		var value json.RawMessage
		if err != nil || decoder.Decode(&value) != nil {
			return record, notJSON
		}
		if column == "" || seen[column] {
			return record, &core.FieldError{Field: "members", Code: "INVALID", Text: errColumns}
		}
		seen[column] = true
		if flaw := setJSONMember(&record, column, value); flaw != nil {
			return record, flaw
		}
	}
	return record, nil
}

func setJSONMember(record *core.UserRecord, column string, value json.RawMessage) *core.FieldError {
	invalid := func(accepts string) *core.FieldError {
		return &core.FieldError{Field: column, Code: "INVALID", Text: accepts}
	}
	if string(value) == "null" {
		return nil
	}
	switch column {
	case "banned":
		if err := json.Unmarshal(value, &record.Banned); err != nil {
			return invalid("must be true or false")
		}
	case "metadata":
		record.Metadata = value
	default:
		if err := json.Unmarshal(value, textColumn(record, column)); err != nil {
			return invalid("must be a string")
		}
	}
	return nil
}

// columnOf gives a column in any case and style, as the API takes members.
func columnOf(name string) string {
	if slices.Contains(importColumns, name) {
		return name // as nearly every line has it
	}
	for _, column := range importColumns {
		if strings.EqualFold(column, plainName.Replace(strings.TrimSpace(name))) {
			return column
		}
	}
	return ""
}

var plainName = strings.NewReplacer("_", "", "-", "")

func textColumn(record *core.UserRecord, column string) *string {
	switch column {
	case "id":
		return &record.ID
	case "email":
		return &record.Email
	case "passwordHash":
		return &record.PasswordHash
	case "firstName":
		return &record.FirstName
	case "lastName":
		return &record.LastName
	default:
		return &record.Role
	}
}

// csvLines reads a CSV (RFC 4180) whose first line names its columns.
type csvLines struct {
	in      *csv.Reader
	columns []string
}

func newCSVLines(r io.Reader) (*csvLines, error) {
	l := &csvLines{in: csv.NewReader(r)}
	l.in.ReuseRecord = true
	header, err := l.in.Read()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, usagef("FILE: line 1: must be a header of columns: %s", errColumns)
	}
	for i, name := range header {
		column := columnOf(name)
		if column == "" || slices.Contains(l.columns, column) {
			return nil, usagef("FILE: line 1: column %d: must be a header: %s", i+1, errColumns)
		}
		l.columns = append(l.columns, column)
	}
	if !slices.Contains(l.columns, "email") {
		return nil, usagef("FILE: line 1: must be a header with the column email; columns %s", errColumns)
	}
	l.in.FieldsPerRecord = len(l.columns)
	return l, nil
}

func (l *csvLines) next() (importLine, error) {
	fields, err := l.in.Read()
	var malformed *csv.ParseError
	switch {
	case errors.As(err, &malformed) && errors.Is(err, csv.ErrFieldCount):
		return importLine{number: malformed.StartLine, flaw: lineFlaw(fmt.Sprintf("must have %d columns, as the first line", len(l.columns)))}, nil
	case errors.As(err, &malformed):
		return importLine{number: malformed.StartLine, flaw: lineFlaw("must be CSV: fields with a comma, a quote or a line feed in quotes, and quotes in them doubled")}, nil
	case err != nil:
		return importLine{}, err
	}
	number, _ := l.in.FieldPos(0)
	line := importLine{number: number}
	for i, column := range l.columns {
		switch value := fields[i]; {
		case value == "":
		case column == "banned":
			if line.record.Banned, err = strconv.ParseBool(value); err != nil {
				line.flaw = &core.FieldError{Field: column, Code: "INVALID", Text: "must be true or false"}
			}
		case column == "metadata":
			line.record.Metadata = json.RawMessage(value)
		default:
			*textColumn(&line.record, column) = value
		}
	}
	return line, nil
}
