package httpapi

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"
)

// The description of the API, for programs at /openapi.json and for people at /docs.
// Both are made once, at start, from the file that the tests hold the routes and the
// answers against.

//go:embed openapi.yaml
var description []byte

//go:embed reference
var referenceFiles embed.FS

// reference is what is served of the description.
type reference struct {
	secure bool
	files  map[string]referenceFile // by path
}

type referenceFile struct {
	kind, tag string
	content   []byte
}

func newReference(c Config) (*reference, error) {
	tree, err := parseOrdered(description)
	if err != nil {
		return nil, fmt.Errorf("description of the API: %w", err)
	}
	machine, err := json.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("description of the API: %w", err)
	}
	style, err := referenceFiles.ReadFile("reference/style.css")
	if err != nil {
		return nil, err
	}
	pages, err := template.ParseFS(referenceFiles, "reference/*.html")
	if err != nil {
		return nil, err
	}
	ref := &reference{secure: c.BaseURL.Scheme == "https", files: make(map[string]referenceFile)}
	ref.add("/openapi.json", "application/json; charset=utf-8", machine)
	sheet := "/docs/" + contentTag(style) + ".css"
	ref.add(sheet, "text/css; charset=utf-8", style)
	view := viewOf(tree)
	view.Sheet, view.Base = sheet, strings.TrimSuffix(c.BaseURL.String(), "/")
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, "page.html", view); err != nil {
		return nil, fmt.Errorf("reference page: %w", err)
	}
	ref.add("/docs", "text/html; charset=utf-8", page.Bytes())
	return ref, nil
}

func contentTag(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

func (ref *reference) add(path, kind string, content []byte) {
	ref.files[path] = referenceFile{kind: kind, tag: `"` + contentTag(content) + `"`, content: content}
}

// register adds the routes. They answer on every host: nothing in them is anybody's.
func (ref *reference) register(routes gin.IRoutes) {
	for path, file := range ref.files {
		readRoute(routes, path, func(g *gin.Context) { ref.serve(g, path, file) })
	}
	readRoute(routes, "/docs/", func(g *gin.Context) { g.Redirect(http.StatusMovedPermanently, "/docs") })
}

func (ref *reference) serve(g *gin.Context, path string, file referenceFile) {
	header := g.Writer.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cross-Origin-Opener-Policy", "same-origin")
	header.Set("Etag", file.tag)
	header.Set("Cache-Control", "no-cache")
	if strings.HasSuffix(path, ".css") {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if path == "/openapi.json" {
		header.Set("Access-Control-Allow-Origin", "*") // tools in browsers read it
	}
	if ref.secure {
		header.Set("Strict-Transport-Security", "max-age=63072000")
	}
	if g.GetHeader("If-None-Match") == file.tag {
		g.Status(http.StatusNotModified)
		return
	}
	g.Data(http.StatusOK, file.kind, file.content)
}
