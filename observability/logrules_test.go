package observability

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// logFields is the allow-list of operability.md, Log rules: no line of the service has
// another field. None of them can hold an address, a token, a link or a whole client
// address; whoever adds one answers for that.
var logFields = []string{
	// what happened
	"event", "outcome", "result", "reason", "state", "status", "error", "err", "panic", "stack", "work", "what", "to", "for",
	// to what
	"account", "actor", "actor_kind", "attempt", "delivery", "endpoint", "key", "kind", "object", "object_type", "plugin", "provider",
	"request", "request_id", "roles", "route", "method", "peer", "admin", "http", "limits", "layers", "remedy", "version", "pid", "view", "basis",
	"plugin_dir", "trace_id", "span_id", "inbox", "stage",
	// how much and how long
	"away", "bytes", "count", "deliveries", "directories", "duration_ms", "failures", "leases", "percent", "restart_in", "since",
	// what a plugin wrote, redacted by value first
	"stream", "line", "cut",
}

// rawValue matches names of values that no line may hold as they are.
var rawValue = regexp.MustCompile(`(?i)^(reveal|.*(address|email|password|secret|link|cookie|authorization|body|rawquery|requesturi|remoteaddr|hash|seed|selector))$`)

// logCalls are slog's and a logger's ways to write; the number is where the fields
// begin.
var logCalls = map[string]int{
	"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "With": 0,
	"DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2, "LogAttrs": 3, "Log": 3,
}

var attrMakers = []string{"Any", "Bool", "Duration", "Float64", "Int", "Int64", "String", "Time", "Uint64", "Group"}

// prints are fmt's ways past the logger, onto the process's outputs.
var prints = []string{"Fprint", "Fprintf", "Fprintln"}

// logFlaws gives what in a file breaks the rules of logging: in lines, in what is
// printed onto the process's outputs, and in attributes of spans.
func logFlaws(files *token.FileSet, file *ast.File) (flaws []string) {
	flaw := func(at token.Pos, format string, args ...any) {
		flaws = append(flaws, fmt.Sprintf("%s: %s", files.Position(at), fmt.Sprintf(format, args...)))
	}
	raw := func(value ast.Expr) {
		ast.Inspect(value, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				return false
			case *ast.Ident:
				if rawValue.MatchString(n.Name) {
					flaw(n.Pos(), "%s is logged as it is", n.Name)
				}
			}
			return true
		})
	}
	field := func(key, value ast.Expr) {
		literal, ok := key.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			flaw(key.Pos(), "the field's name is no constant")
			return
		}
		if name, _ := strconv.Unquote(literal.Value); !slices.Contains(logFields, name) {
			flaw(key.Pos(), "field %q is not in the allow-list (logFields)", name)
		}
		raw(value)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := method.X.(*ast.Ident); ok && of.Name == "slog" && slices.Contains(attrMakers, method.Sel.Name) && len(call.Args) > 1 {
			field(call.Args[0], call.Args[1])
			return true
		}
		switch of := selector(call.Fun); {
		case strings.HasPrefix(of, "attribute.") && slices.Contains(attrMakers, method.Sel.Name) && len(call.Args) == 2:
			raw(call.Args[1])
			return true
		case strings.HasPrefix(of, "fmt.") && slices.Contains(prints, method.Sel.Name) && slices.Contains([]string{"os.Stderr", "os.Stdout"}, selector(call.Args[0])):
			for _, value := range call.Args[1:] {
				raw(value)
			}
			return true
		}
		begins, ok := logCalls[method.Sel.Name]
		if !ok || !isLogger(method.X) || len(call.Args) <= begins {
			return true
		}
		rest := call.Args[begins:]
		if _, attr := rest[0].(*ast.CallExpr); attr || call.Ellipsis.IsValid() {
			return true
		}
		for i := 0; i+1 < len(rest); i += 2 {
			field(rest[i], rest[i+1])
		}
		return true
	})
	return flaws
}

// selector gives package.Name of an expression; empty for any other.
func selector(x ast.Expr) string {
	chosen, ok := x.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	of, ok := chosen.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return of.Name + "." + chosen.Sel.Name
}

// isLogger goes by the name: log, logger, config.Logger.
func isLogger(x ast.Expr) bool {
	switch x := x.(type) {
	case *ast.Ident:
		return strings.HasSuffix(strings.ToLower(x.Name), "log") || strings.HasSuffix(strings.ToLower(x.Name), "logger")
	case *ast.SelectorExpr:
		return isLogger(x.Sel)
	}
	return false
}

// ofTests are directories that are no part of the service, but of tests and measurements.
var ofTests = []string{"bench", "chaos", "coretest", "pgtest", "postmarktest", "sdktest", "smtptest", "testdata", "world"}

// TestEveryLogLineKeepsTheRules reads the source of the service, every room of it: what
// is in another module is none. What it cannot see, Secret prints as [redacted], and
// the Filter takes out.
func TestEveryLogLineKeepsTheRules(t *testing.T) {
	t.Parallel()
	files, rooms := token.NewFileSet(), make(map[string]int)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && (slices.Contains(ofTests, entry.Name()) || strings.HasPrefix(entry.Name(), ".") || isModule(path)):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rooms[filepath.ToSlash(filepath.Dir(path))]++
		for _, flaw := range logFlaws(files, file) {
			t.Error(flaw)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []string{"cmd/passmend", "cmd/passmend-smtp", "core", "core/sqlstore", "core/httpapi", "plugins/host", "plugins/smtp", "plugins/webhook", "tenants"} {
		if rooms["../"+room] == 0 {
			t.Errorf("%s was not read", room)
		}
	}
	for room := range rooms {
		if strings.HasPrefix(room, "../deploy/") || strings.HasPrefix(room, "../tools") {
			t.Errorf("%s was read, and is another module", room)
		}
	}
}

func isModule(path string) bool {
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

func TestLogRulesSeeFaults(t *testing.T) {
	t.Parallel()
	for statement, says := range map[string]string{
		`log.Info("m", slog.String("email", "x"))`:                             "not in the allow-list",
		`log.Info("m", "email", "x")`:                                          "not in the allow-list",
		`c.Logger.ErrorContext(ctx, "m", "token", "x")`:                        "not in the allow-list",
		`log.With("user", 1)`:                                                  "not in the allow-list",
		`log.Info("m", slog.String(name, "x"))`:                                "is no constant",
		`log.Info("m", slog.String("what", user.Address.Reveal()))`:            "logged as it is",
		`log.Info("m", slog.Any("what", request.Body))`:                        "logged as it is",
		`s.logger.Warn("m", "what", r.RemoteAddr)`:                             "logged as it is",
		`log.LogAttrs(ctx, level, "m", slog.String("what", password))`:         "logged as it is",
		`log.Info("m", slog.String("what", fmt.Sprint("to ", settings.Link)))`: "logged as it is",
		`log.Log(ctx, level, "m", "what", password)`:                           "logged as it is",
		`fmt.Fprintln(os.Stderr, "to", mail.To.Address)`:                       "logged as it is",
		`fmt.Fprintf(os.Stdout, "%s", settings.Password.Reveal())`:             "logged as it is",
		`span.SetAttributes(attribute.String("what", token.Link))`:             "logged as it is",
		`fmt.Fprintln(out, "to", mail.To.Address)`:                             "",
		`attribute.String("server.address", host)`:                             "",
		`log.Info("m", slog.String("account", string(account.ID)))`:            "",
		`s.logger.Warn("m", "reason", reason, "error", err.Error())`:           "",
		`t.Error("m", "email", address)`:                                       "",
	} {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, "x.go", "package x\nfunc f() { "+statement+" }", 0)
		if err != nil {
			t.Fatal(err)
		}
		flaws := strings.Join(logFlaws(files, file), "; ")
		if (says == "") != (flaws == "") || !strings.Contains(flaws, says) {
			t.Errorf("%s: %q, want %q", statement, flaws, says)
		}
	}
}

func TestAnswersHaveTheirOWASPName(t *testing.T) {
	t.Parallel()
	for call, want := range map[httpCall]string{
		{route: "/v1/accounts/{account}/passwords", status: 202}:                            "",
		{route: "/v1/accounts/{account}/passwords", status: 429}:                            "excess_rate_limit_exceeded",
		{route: "/v1/accounts/{account}/passwords", status: 400}:                            "input_validation_fail",
		{route: "/v1/accounts/{account}/passwords", status: 413}:                            "input_validation_fail",
		{route: "/v1/accounts/{account}/users", status: 422}:                                "input_validation_fail",
		{route: "/v1/accounts/{account}/tokens", status: 401}:                               "authn_login_fail",
		{route: "/v1/accounts/{account}/users/{user}/actions/reset-password", status: 401}:  "authn_password_change_fail",
		{route: "/v1/accounts/{account}/users/{user}/actions/update-password", status: 401}: "authn_password_change_fail",
		{route: "/v1/accounts", status: 403}:                                                "authz_fail",
		{route: "/v1/accounts", status: 404}:                                                "",
		{route: "/v1/accounts", status: 500}:                                                "",
	} {
		if got := securityEvent(call); got != want {
			t.Errorf("%d on %s is %q, want %q", call.status, call.route, got, want)
		}
	}
}
