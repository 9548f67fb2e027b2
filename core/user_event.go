package core

import (
	"encoding/json"
	"fmt"
)

// UserEvent makes the event about a user as the row is in the commit that records it,
// and TokenEvent the one about an API token.
type (
	UserEvent  func(User) (Event, error)
	TokenEvent func(APIToken) (Event, error)
)

// Resources writes what receivers of events read of users and API tokens, as the API
// shows them; never a token's value.
type Resources interface {
	UserResource(user User) (json.RawMessage, error)
	TokenResource(token APIToken) (json.RawMessage, error)
}

// shows gives the facts of an event that is about something other than a user who is
// there: its resource.
func shows(resource json.RawMessage, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, fmt.Errorf("facts of an event: %w", err)
	}
	return json.Marshal(map[string]json.RawMessage{"data": resource})
}
