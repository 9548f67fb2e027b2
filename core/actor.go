package core

import (
	"context"
	"net/netip"
)

// ActorKind says what kind of caller changed something.
type ActorKind string

// The closed list of kinds.
const (
	ActorOperator ActorKind = "operator" // by API token; ID is the token's
	ActorAdmin    ActorKind = "admin"    // of an account; ID is the user's
	ActorUser     ActorKind = "user"     // ID is the user's
	ActorCommand  ActorKind = "command"  // of this machine; ID is "uid:" and who ran it
	ActorService  ActorKind = "service"  // nobody asked; no ID
)

// ActorKinds is every kind, in the order of documentation.
func ActorKinds() []ActorKind {
	return []ActorKind{ActorOperator, ActorAdmin, ActorUser, ActorCommand, ActorService}
}

// Actor is who changed something. ID is never a name and never an address.
type Actor struct {
	Kind ActorKind
	ID   string
}

// ActorOf gives who holds a token, as SignIn.Bearer gave both.
func ActorOf(token APIToken, user User) Actor {
	switch {
	case token.Operator():
		return Actor{ActorOperator, string(token.ID)}
	case user.Role == RoleAdmin:
		return Actor{ActorAdmin, string(user.ID)}
	default:
		return Self(user.ID)
	}
}

// Self is a user who acts for themselves.
func Self(user UserID) Actor { return Actor{ActorUser, string(user)} }

// Origin is where a call comes from. It travels in the context, beside the trace, and
// for the same reason: it decides nothing, and is written down with what the call
// changes.
type Origin struct {
	// Actor is empty until the caller is known, and stays so for who needs no token.
	Actor   Actor
	Client  netip.Addr // the zero Addr: not by network
	Request string     // X-Request-Id
}

type originKey struct{}

// WithOrigin says where what is done with the context comes from.
func WithOrigin(ctx context.Context, origin Origin) context.Context {
	return context.WithValue(ctx, originKey{}, origin)
}

// ActingAs is WithOrigin for a caller who has become known.
func ActingAs(ctx context.Context, actor Actor) context.Context {
	origin := OriginOf(ctx)
	origin.Actor = actor
	return WithOrigin(ctx, origin)
}

// OriginOf gives the zero Origin where none was said.
func OriginOf(ctx context.Context) Origin {
	origin, _ := ctx.Value(originKey{}).(Origin)
	return origin
}

// Network is what logs and the audit log keep of a client's address: its /24 or /48;
// nothing of the zero Addr.
func Network(client netip.Addr) string {
	if !client.IsValid() {
		return ""
	}
	client = client.Unmap().WithZone("")
	bits := 48
	if client.Is4() {
		bits = 24
	}
	network, _ := client.Prefix(bits) // it is within both
	return network.String()
}
