package httpapi

import (
	"fmt"
	"strings"
	"unicode"
)

// field is a member that a route knows.
type field struct {
	name     string // lowerCamel, as pointers say it
	kind     kind
	required bool
	nullable bool    // null means absent
	blank    bool    // a string may be blank
	inside   []field // of an object, in the order in which they are judged
	open     bool    // an object may hold any member
	of       kind    // of every item of an array
	// judge, when set, gives what is wrong with a value of the right kind, or "".
	judge func(text string) string
}

// resourceBody is the body of a call that makes or changes a resource, whose type may
// be given in the singular or the plural. A change may name its id.
func resourceBody(singular string, creating bool, attributes []field) []field {
	data := []field{
		{name: "type", kind: kindString, required: true, judge: func(text string) string {
			if text != singular && text != singular+"s" {
				return "is invalid"
			}
			return ""
		}},
		{name: "attributes", kind: kindObject, required: creating, inside: attributes},
	}
	if !creating {
		data = append(data, field{name: "id", kind: kindString})
	}
	return []field{{name: "data", kind: kindObject, required: true, inside: data}}
}

// validate holds a body against what a route knows; nil is an empty body. It
// gives one refusal, the first of: members that are unknown, in the order of the
// body; then the known ones in the order of fields; then the objects that hold
// them (contract.md, C6). nil: all is well.
func validate(body *node, fields []field) error {
	root := node{kind: kindObject}
	if body != nil {
		root = *body
	}
	if root.kind != kindObject {
		return badMember("/data", "unpermitted parameter")
	}
	if err := findUnknown(root, fields, ""); err != nil {
		return err
	}
	return judgeMembers(root, fields, "")
}

func findUnknown(object node, fields []field, path string) error {
	for _, m := range object.members {
		known, ok := findField(fields, m.name)
		if !ok {
			return badMember(path+"/"+pointerToken(lowerCamel(m.name)), "unpermitted parameter")
		}
		if known.kind == kindObject && !known.open {
			if err := findUnknown(m.value, known.inside, path+"/"+known.name); err != nil {
				return err
			}
		}
	}
	return nil
}

func findField(fields []field, name string) (field, bool) {
	folded := foldName(name)
	for _, f := range fields {
		if foldName(f.name) == folded {
			return f, true
		}
	}
	return field{}, false
}

func judgeMembers(object node, fields []field, path string) error {
	for _, f := range fields {
		value, present := object.member(f.name)
		if err := f.judgeValue(value, present, path+"/"+f.name); err != nil {
			return err
		}
	}
	return nil
}

func (f field) judgeValue(value node, present bool, pointer string) error {
	switch {
	case !present && f.required:
		return badMember(pointer, "is missing")
	case !present || (value.kind == kindNull && f.nullable):
		return nil
	case value.kind == kindNull:
		return badMember(pointer, "cannot be null")
	case value.kind != f.kind:
		return badMember(pointer, mismatch(value.kind, f.kind))
	case f.kind == kindString && !f.blank && strings.TrimSpace(value.text) == "":
		return badMember(pointer, "cannot be blank")
	}
	for i, item := range value.items {
		if item.kind != f.of {
			return badMember(fmt.Sprintf("%s/%d", pointer, i), mismatch(item.kind, f.of))
		}
	}
	if f.judge != nil {
		if wrong := f.judge(value.text); wrong != "" {
			return badMember(pointer, wrong)
		}
	}
	return judgeMembers(value, f.inside, pointer)
}

func mismatch(received, expected kind) string {
	return "type mismatch (received " + string(received) + " expected " + string(expected) + ")"
}

// lowerCamel is how pointers name a member, whatever its style was in the body:
// foo_bar, Foo-Bar and fooBar are fooBar, FOO is foo.
func lowerCamel(name string) string {
	var out strings.Builder
	upper, wasLower := false, false
	for _, r := range name {
		switch {
		case r == '_' || r == '-':
			upper = out.Len() > 0
			wasLower = false
		case upper:
			out.WriteRune(unicode.ToUpper(r))
			upper, wasLower = false, false
		case unicode.IsUpper(r) && wasLower:
			out.WriteRune(r)
			wasLower = false
		default:
			out.WriteRune(unicode.ToLower(r))
			wasLower = unicode.IsLower(r) || unicode.IsDigit(r)
		}
	}
	return out.String()
}

// pointerToken escapes a name for a JSON Pointer (RFC 6901, section 3).
func pointerToken(name string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
