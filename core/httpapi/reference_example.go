package httpapi

import (
	"bytes"
	"encoding/json"
)

// exampleOf makes a body that the schema takes: the members that are needed, or all
// of a small object, with values that say what they are.
func exampleOf(tree, schema *object) string {
	value := exampleValue(tree, resolve(tree, schema), "")
	if value == nil {
		return ""
	}
	compact, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	var text bytes.Buffer
	if json.Indent(&text, compact, "", "  ") != nil {
		return ""
	}
	return text.String()
}

// exampleTexts are values of members by their names.
var exampleTexts = map[string]string{
	"email": "ada@example.com", "passwordResetToken": "AbC…", "newPassword": "correct horse battery staple", "oldPassword": "the one before", "password": "correct horse battery staple",
	"slug": "acme", "name": "Acme", "url": "https://hooks.acme.example/passmend", "firstName": "Ada", "lastName": "Lovelace",
	"expiry": "2027-01-01T00:00:00Z", "accent": "#7a1fa2", "apiVersion": "1.8", "otp": "123456",
}

func exampleValue(tree, schema *object, name string) any {
	if values := schema.list("enum"); len(values) > 0 {
		return values[0]
	}
	kind := schema.members["type"]
	if kinds, several := kind.([]any); several && len(kinds) > 0 {
		kind = kinds[0]
	}
	switch kind {
	case "object":
		return exampleObject(tree, schema)
	case "array":
		return []any{exampleValue(tree, resolve(tree, schema.object("items")), name)}
	case "boolean":
		return true
	case "integer":
		if schema.has("minimum") {
			return schema.members["minimum"]
		}
		return 1
	case "string":
		return or(exampleTexts[name], "…")
	}
	return nil
}

// smallObject is how many members are all shown.
const smallObject = 4

func exampleObject(tree, schema *object) any {
	result := &object{members: make(map[string]any)}
	properties := schema.object("properties")
	for _, name := range properties.names {
		needed := len(properties.names) <= smallObject
		for _, each := range schema.list("required") {
			needed = needed || each == name
		}
		if needed {
			result.set(name, exampleValue(tree, resolve(tree, properties.object(name)), name))
		}
	}
	return result
}
