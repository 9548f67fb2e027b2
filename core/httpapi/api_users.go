package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// maxUserBody holds metadata of the largest size and its white space.
const maxUserBody = 64 << 10

// userBody is the body of POST and PATCH users. What of it a bearer may write, and
// what it need not, is told; the rest is unpermitted (contract.md, A4).
func userBody(creating, governs bool) []field {
	attributes := []field{
		{name: "email", kind: kindString, required: creating},
		{name: "firstName", kind: kindString, nullable: true, blank: true},
		{name: "lastName", kind: kindString, nullable: true, blank: true},
	}
	if creating || governs {
		attributes = append(attributes,
			field{name: "password", kind: kindString, nullable: true, blank: !creating},
			field{name: "metadata", kind: kindObject, open: true})
	}
	if governs {
		attributes = append(attributes, field{name: "role", kind: kindString, judge: func(text string) string {
			if !slices.Contains(core.Roles(), core.Role(text)) {
				return "is invalid"
			}
			return ""
		}})
	}
	return resourceBody("user", creating, attributes)
}

// me shows the bearer and the token it came with (contract.md, A8).
func (a *api) me(c *call) error {
	answer := document{Data: bearerResource(c), Included: []any{tokenResource(c.token, nil)}}
	return c.write(http.StatusOK, answer)
}

// profile shows the bearer and names its token.
func (a *api) profile(c *call) error {
	return c.write(http.StatusOK, document{Data: bearerResource(c), Meta: struct {
		TokenID core.TokenID `json:"tokenId"`
	}{c.token.ID}})
}

func bearerResource(c *call) any {
	if c.token.Operator() {
		return operatorResource(c.token)
	}
	return userResource(c.user)
}

// postUser makes a user: for anybody, unless the account is protected, and with a
// role for who governs it.
func (a *api) postUser(c *call) error {
	governs := false
	if _, sent := credential(c.Request); sent {
		if err := a.bearer(c); err != nil {
			return err
		}
		if err := governsAccount(c); err != nil {
			return err
		}
		governs = true
	} else if c.account.Protected {
		return errForbidden
	}
	if err := validate(c.body, userBody(true, governs)); err != nil {
		return err
	}
	data, _ := c.body.member("data")
	sent, _ := data.member("attributes")
	email, _ := sent.member("email")
	first, _ := sent.member("firstName")
	last, _ := sent.member("lastName")
	role, _ := sent.member("role")
	user, err := a.c.UserAdmin.Create(c.Request.Context(), c.account, core.NewUser{
		Email: email.text, FirstName: first.text, LastName: last.text, Role: core.Role(role.text),
		Metadata: objectMember(sent, "metadata"), Password: passwordMember(sent),
	})
	if err != nil {
		return err
	}
	shown := userResource(user)
	c.Header("Location", shown.Links.Self)
	return c.write(http.StatusCreated, document{Data: shown})
}

// passwordMember is nil when there is none, which null means too.
func passwordMember(attributes node) *tenants.Secret {
	sent, _ := attributes.member("password")
	if sent.kind != kindString {
		return nil
	}
	secret := tenants.NewSecret(sent.text)
	return &secret
}

func objectMember(attributes node, name string) json.RawMessage {
	sent, _ := attributes.member(name)
	return sent.raw
}

// listUsers shows the account's users: those of role user, unless roles, status or
// metadata choose others (contract.md, A4 and C5).
func (a *api) listUsers(c *call) error {
	query := c.Request.URL.Query()
	wanted, err := parsePage(query)
	if err != nil {
		return err
	}
	filter, kept, none, err := userFilter(query)
	if err != nil {
		return err
	}
	ctx, account := c.Request.Context(), c.account.ID
	return answerList(c, "users", wanted, kept,
		func(u core.User) string { return string(u.ID) },
		func(u core.User) any { return userResource(u) },
		func(p part) ([]core.User, error) {
			if none {
				return nil, nil
			}
			q := filter
			q.Newest, q.After, q.Skip, q.Limit = p.newest, core.UserID(p.after), p.skip, p.limit
			return a.c.Users.Users(ctx, account, q)
		},
		func() (int, error) {
			if none {
				return 0, nil
			}
			return a.c.Users.CountUsers(ctx, account, filter)
		})
}

// userFilter reads roles, status and metadata, and gives what links keep of them.
// none: nobody has that status.
func userFilter(query url.Values) (filter core.UserQuery, kept url.Values, none bool, err error) {
	kept = make(url.Values)
	for _, name := range []string{"roles[]", "roles"} {
		for _, role := range query[name] {
			if !slices.Contains(core.Roles(), core.Role(role)) {
				return filter, nil, false, badParameter(name, "is invalid")
			}
			filter.Roles = append(filter.Roles, core.Role(role))
			kept.Add(name, role)
		}
	}
	if filter.Roles == nil {
		filter.Roles = []core.Role{core.RoleUser}
	}
	status, sent, err := onlyParameter(query, "status")
	if err != nil {
		return filter, nil, false, err
	}
	if sent {
		kept.Set("status", status)
		switch banned := status == statusBanned; status {
		case statusActive, statusBanned:
			filter.Banned = &banned
		case statusInactive:
			none = true
		default:
			return filter, nil, false, badParameter("status", "is invalid (must be ACTIVE, INACTIVE or BANNED)")
		}
	}
	for name := range query {
		key, ok := strings.CutPrefix(name, "metadata[")
		if !ok {
			continue
		}
		key, ok = strings.CutSuffix(key, "]")
		value, _, err := onlyParameter(query, name)
		if err != nil {
			return filter, nil, false, err
		}
		if !ok || key == "" || strings.ContainsAny(key+value, "[]\x00") {
			return filter, nil, false, badParameter(name, "is invalid")
		}
		if filter.Metadata == nil {
			filter.Metadata = make(map[string]string)
		}
		filter.Metadata[key] = value
		kept.Set(name, value)
	}
	return filter, kept, none, nil
}

// getUser shows a user to itself and to whoever may read the account. For anybody
// else it is not there, whether it exists or not.
func (a *api) getUser(c *call) error {
	user, err := a.visibleUser(c)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: userResource(user)})
}

// visibleUser is the user in the path, if the bearer can see it; core.ErrNotFound.
func (a *api) visibleUser(c *call) (core.User, error) {
	ref := core.ParseUserRef(c.param("user"))
	switch {
	case !c.token.Operator() && ref.Matches(c.user):
		return c.user, nil
	case !c.token.Operator() && !c.user.Role.ReadsAccount():
		return core.User{}, core.ErrNotFound
	}
	return ref.Find(c.Request.Context(), a.c.Users, c.account.ID)
}

// patchUser changes a user: all of one for who governs the account, one's own
// address and names for everybody.
func (a *api) patchUser(c *call) error {
	user, err := a.visibleUser(c)
	if err != nil {
		return err
	}
	governs := governsAccount(c) == nil
	if !governs && user.ID != c.user.ID {
		return errForbidden
	}
	if err := validate(c.body, userBody(false, governs)); err != nil {
		return err
	}
	data, _ := c.body.member("data")
	if id, sent := data.member("id"); sent && !samePathID(id.text, string(user.ID)) {
		return badMember("/data/id", "does not name the user of the path")
	}
	sent, _ := data.member("attributes")
	patch := core.UserPatch{
		Email: textMember(sent, "email"), FirstName: textMember(sent, "firstName"), LastName: textMember(sent, "lastName"),
		Metadata: objectMember(sent, "metadata"), Password: passwordMember(sent),
	}
	if password, there := sent.member("password"); there && password.kind == kindNull {
		patch.Password = new(tenants.Secret)
	}
	if role := textMember(sent, "role"); role != nil {
		patch.Role = (*core.Role)(role)
	}
	changed, err := a.c.UserAdmin.Update(c.Request.Context(), c.account, user, patch)
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: userResource(changed)})
}

func samePathID(sent, id string) bool {
	canonical, ok := tenants.ParseUUID(sent)
	return ok && canonical == id
}

// textMember is nil when the member is not there; null is the empty text.
func textMember(attributes node, name string) *string {
	sent, there := attributes.member(name)
	if !there {
		return nil
	}
	return &sent.text
}

func (a *api) deleteUser(c *call) error {
	user, err := a.visibleUser(c)
	if err != nil {
		return err
	}
	if err := governsAccount(c); err != nil {
		return err
	}
	if err := a.c.UserAdmin.Delete(c.Request.Context(), c.account.ID, user.ID); err != nil {
		return err
	}
	c.empty(http.StatusNoContent)
	return nil
}

// ban is actions/ban, or unban: of users of role user alone.
func (a *api) ban(banned bool) step {
	return func(c *call) error {
		user, err := a.visibleUser(c)
		if err != nil {
			return err
		}
		if err := governsAccount(c); err != nil || user.Role != core.RoleUser {
			return errForbidden
		}
		if err := validate(c.body, nil); err != nil {
			return err
		}
		changed, err := a.c.UserAdmin.SetBanned(c.Request.Context(), c.account.ID, user, banned)
		if err != nil {
			return err
		}
		return c.write(http.StatusOK, document{Data: userResource(changed)})
	}
}

// updateBody is the body of actions/update-password.
var updateBody = []field{{name: "meta", kind: kindObject, required: true, inside: []field{
	{name: "oldPassword", kind: kindString, required: true},
	{name: "newPassword", kind: kindString, required: true},
}}}

// updatePassword sets a new password for who knows the old one (contract.md, A3).
func (a *api) updatePassword(c *call) error {
	user, err := a.visibleUser(c)
	if err != nil {
		return err
	}
	if user.ID != c.user.ID {
		return errForbidden
	}
	if err := validate(c.body, updateBody); err != nil {
		return err
	}
	meta, _ := c.body.member("meta")
	old, _ := meta.member("oldPassword")
	chosen, _ := meta.member("newPassword")
	changed, err := a.c.UserAdmin.ChangePassword(c.Request.Context(), c.account, user, c.token.ID,
		tenants.NewSecret(old.text), tenants.NewSecret(chosen.text))
	if errors.Is(err, core.ErrWrongPassword) {
		return errOldPassword
	}
	if err != nil {
		return err
	}
	return c.write(http.StatusOK, document{Data: userResource(changed)})
}
