package httpapi

import (
	"fmt"
	"slices"
	"strings"
)

// referenceView is what the reference page shows. All of it is text and is escaped.
type referenceView struct {
	Title, Version, Sheet string
	Base                  string // where the API is
	Intro                 []string
	Groups                []referenceGroup
	Schemas               []referenceSchema
}

// referenceGroup is one tag's operations.
type referenceGroup struct {
	Name, Text string
	Operations []referenceOperation
}

type referenceOperation struct {
	ID, Method, Path string
	Summary          string
	Text             []string
	Access           string
	Parameters       []referenceField
	Body             *referenceBody
	Answers          []referenceAnswer
	Head             bool // HEAD answers too
}

type referenceBody struct {
	Text, Ref string
	Fields    []referenceField
	Example   string
}

type referenceAnswer struct {
	Status, Text, Ref string
	Headers           []string
}

// referenceField is a parameter, or a member by its path.
type referenceField struct {
	Name, Place, Type, Ref, Text string
	Required                     bool
}

type referenceSchema struct {
	Name, Text, Type string
	Fields           []referenceField
}

// viewOf reads a description of ours: it knows the parts of OpenAPI that we use.
func viewOf(tree *object) referenceView {
	info := tree.object("info")
	view := referenceView{Title: info.text("title"), Version: info.text("version"), Intro: paragraphs(info.text("description"))}
	byTag := make(map[string][]referenceOperation)
	paths := tree.object("paths")
	for _, path := range paths.names {
		item := paths.object(path)
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if !item.has(method) {
				continue
			}
			operation := item.object(method)
			shown := operationOf(tree, operation, item.list("parameters"), strings.ToUpper(method), path)
			shown.Head = method == "get" && item.has("head")
			tag := "other"
			if tags := operation.list("tags"); len(tags) > 0 {
				tag = fmt.Sprint(tags[0])
			}
			byTag[tag] = append(byTag[tag], shown)
		}
	}
	for _, tag := range tree.list("tags") {
		described, _ := tag.(*object)
		name := described.text("name")
		view.Groups = append(view.Groups, referenceGroup{Name: name, Text: described.text("description"), Operations: byTag[name]})
	}
	schemas := tree.object("components").object("schemas")
	for _, name := range schemas.names {
		schema := schemas.object(name)
		kind, _ := typeOf(schema)
		view.Schemas = append(view.Schemas, referenceSchema{Name: name, Text: constraints(schema), Type: kind, Fields: fieldsOf(schema, "")})
	}
	return view
}

func operationOf(tree, operation *object, shared []any, method, path string) referenceOperation {
	shown := referenceOperation{
		ID: operation.text("operationId"), Method: method, Path: path,
		Summary: operation.text("summary"), Text: paragraphs(operation.text("description")), Access: accessOf(tree, operation),
	}
	for _, each := range slices.Concat(shared, operation.list("parameters")) {
		parameter := resolve(tree, each)
		field := fieldOf(parameter.text("name"), parameter.object("schema"))
		field.Place, field.Required = parameter.text("in"), parameter.members["required"] == true
		field.Text = join(parameter.text("description"), field.Text)
		shown.Parameters = append(shown.Parameters, field)
	}
	if operation.has("requestBody") {
		body := operation.object("requestBody")
		schema := firstSchema(body)
		_, ref := typeOf(schema)
		shown.Body = &referenceBody{Text: body.text("description"), Ref: ref, Fields: fieldsOf(resolve(tree, schema), ""), Example: exampleOf(tree, schema)}
	}
	answers := operation.object("responses")
	for _, status := range answers.names {
		answer := resolve(tree, answers.members[status])
		_, ref := typeOf(firstSchema(answer))
		shown.Answers = append(shown.Answers, referenceAnswer{Status: status, Text: meaningOf(status, answer.text("description")), Ref: ref, Headers: answer.object("headers").names})
	}
	return shown
}

// meaningOf says more than that a call was refused.
func meaningOf(status, text string) string {
	meaning, known := map[string]string{
		"400": "Something in it cannot be read or taken.", "401": "Nobody has been proved.", "403": "Not for this bearer.", "404": "It is not there.",
		"409": "Another call is in the way.", "413": "The body is too large.", "422": "A value cannot be taken.", "429": "Too many of them; wait.",
		"500": "It is our fault.", "503": "Nothing was done; come back.",
	}[status]
	if known && text == "Refused." {
		return meaning
	}
	return text
}

// accessOf says in words who may call.
func accessOf(tree, operation *object) string {
	security := tree.list("security")
	if operation.has("security") {
		security = operation.list("security")
	}
	var ways []string
	for _, each := range security {
		way, _ := each.(*object)
		if len(way.names) == 0 {
			ways = append(ways, "anybody")
		}
		for _, name := range way.names {
			ways = append(ways, map[string]string{"token": "with an API token", "password": "with an address and a password"}[name])
		}
	}
	if len(ways) == 0 {
		return "anybody"
	}
	return strings.Join(ways, ", or ")
}

// resolve follows a reference within the description.
func resolve(tree *object, value any) *object {
	found, ok := value.(*object)
	if !ok {
		return &object{}
	}
	ref := found.text("$ref")
	if ref == "" {
		return found
	}
	at := tree
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.object(part)
	}
	return resolve(tree, at)
}

func firstSchema(body *object) *object {
	content := body.object("content")
	if len(content.names) == 0 {
		return &object{}
	}
	return content.object(content.names[0]).object("schema")
}

func refName(schema *object) string {
	return strings.TrimPrefix(schema.text("$ref"), "#/components/schemas/")
}

// typeOf says what a value is, and which schema of ours it has, if any.
func typeOf(schema *object) (kind, ref string) {
	if ref = refName(schema); ref != "" {
		return ref, ref
	}
	for _, combined := range []string{"allOf", "oneOf"} {
		var names []string
		for _, part := range schema.list(combined) {
			if one, ok := part.(*object); ok && refName(one) != "" {
				names = append(names, refName(one))
			}
		}
		if len(names) > 0 {
			return strings.Join(names, " or "), names[0]
		}
	}
	switch kinds := schema.members["type"].(type) {
	case string:
		kind = kinds
	case []any:
		words := make([]string, len(kinds))
		for i, each := range kinds {
			words[i] = fmt.Sprint(each)
		}
		kind = strings.Join(words, " or ")
	}
	if kind == "array" {
		of, ref := typeOf(schema.object("items"))
		return "array of " + or(of, "anything"), ref
	}
	return or(kind, "anything"), ""
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func fieldOf(name string, schema *object) referenceField {
	kind, ref := typeOf(schema)
	return referenceField{Name: name, Type: kind, Ref: ref, Text: constraints(schema)}
}

// fieldsOf lists the members of an object, those of objects in it by their paths.
func fieldsOf(schema *object, prefix string) (fields []referenceField) {
	required := schema.list("required")
	properties := schema.object("properties")
	for _, name := range properties.names {
		member := properties.object(name)
		field := fieldOf(prefix+name, member)
		field.Required = slices.Contains(required, any(name))
		fields = append(fields, field)
		fields = append(fields, fieldsOf(member, prefix+name+".")...)
		if items := member.object("items"); items.has("properties") {
			fields = append(fields, fieldsOf(items, prefix+name+"[].")...)
		}
	}
	return fields
}

// constraints says in words what a schema asks for beside its type.
func constraints(schema *object) string {
	var parts []string
	if text := schema.text("description"); text != "" {
		parts = append(parts, strings.TrimSpace(text))
	}
	if values := schema.list("enum"); len(values) > 0 {
		words := make([]string, len(values))
		for i, value := range values {
			words[i] = fmt.Sprint(value)
		}
		parts = append(parts, "One of: "+strings.Join(words, ", ")+".")
	}
	for _, bound := range []struct{ name, words string }{
		{"minimum", "At least %v."}, {"maximum", "At most %v."}, {"maxLength", "At most %v characters."}, {"minItems", "At least %v items."},
		{"maxItems", "At most %v items."}, {"maxProperties", "At most %v members."}, {"default", "Default %v."}, {"format", "As %v."},
	} {
		if schema.has(bound.name) {
			parts = append(parts, fmt.Sprintf(bound.words, schema.members[bound.name]))
		}
	}
	return strings.Join(parts, " ")
}

func join(first, second string) string { return strings.TrimSpace(first + " " + second) }

// paragraphs parts a text at its blank lines.
func paragraphs(text string) (found []string) {
	for _, part := range strings.Split(text, "\n\n") {
		if part = strings.Join(strings.Fields(part), " "); part != "" {
			found = append(found, part)
		}
	}
	return found
}
