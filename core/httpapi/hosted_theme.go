package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/passmend/passmend/core"
	"github.com/passmend/passmend/tenants"
)

// The surfaces that text stands on, light and dark: the page and the card. The
// accent is adjusted until it can be read on both.
const (
	lightPage, lightCard = "#f4f5f8", "#ffffff"
	darkPage, darkCard   = "#101318", "#191d24"
)

// Least contrast of text, and of what must be seen without being read (WCAG 2.2,
// 1.4.3 and 1.4.11). Links on a dark page get more: thin strokes glare there.
const (
	textContrast  = 4.5
	shapeContrast = 3.0
	darkContrast  = 6.0
)

// immutable is for what has its hash in its name.
const immutable = "public, max-age=31536000, immutable"

var (
	themeFile = regexp.MustCompile(`^([0-9a-f]{6})-[0-9a-f]{16}\.css$`)
	logoFile  = regexp.MustCompile(`^[0-9a-f]{64}\.png$`)
)

// themePath names the stylesheet of an accent: the colour, so that every replica
// can generate it without asking anybody, and the hash of what it generates.
func (h *hosted) themePath(accent string) string {
	return "/theme/" + themeName(accent, h.stylesheet(accent))
}

func themeName(accent, sheet string) string {
	sum := sha256.Sum256([]byte(sheet))
	return strings.TrimPrefix(accent, "#") + "-" + hex.EncodeToString(sum[:8]) + ".css"
}

// stylesheet generates the one stylesheet of a brand: nothing of an account goes
// into it but the accent, as digits.
func (h *hosted) stylesheet(accent string) string {
	link := readable(accent, "#000000", textContrast, lightPage, lightCard)
	pale := readable(accent, "#ffffff", darkContrast, darkPage, darkCard)
	edge := readable(accent, "#ffffff", shapeContrast, darkPage, darkCard)
	return fmt.Sprintf(":root{--accent:%s;--pressed:%s;--link:%s;--edge:%s;--page:%s;--card:%s}\n"+
		"@media (prefers-color-scheme:dark){:root{--link:%s;--edge:%s;--page:%s;--card:%s}}\n",
		accent, blend(accent, "#000000", 0.18), link, accent, lightPage, lightCard,
		pale, edge, darkPage, darkCard) + h.sheet
}

// theme serves a stylesheet. A name of an older build gets today's sheet, uncached:
// a page drawn just before a rollout stays readable.
func (h *hosted) theme(c *gin.Context) {
	found := themeFile.FindStringSubmatch(c.Param("file"))
	if found == nil || tenants.Contrast("#"+found[1], "#ffffff") < textContrast {
		h.show(c, http.StatusNotFound, "noaccount", h.neutral())
		return
	}
	accent := "#" + found[1]
	sheet := h.stylesheet(accent)
	if themeName(accent, sheet) == found[0] {
		c.Header("Cache-Control", immutable)
	}
	c.Data(http.StatusOK, "text/css; charset=utf-8", []byte(sheet))
}

// logo serves the account's logo under the hash that its branding names.
func (h *hosted) logo(c *gin.Context, account tenants.Account) {
	missing := func() { h.show(c, http.StatusNotFound, "noaccount", h.neutral()) }
	file := c.Param("file")
	if !logoFile.MatchString(file) || file != account.Branding.LogoHash+".png" {
		missing()
		return
	}
	png, err := h.c.Accounts.Logo(c.Request.Context(), account.ID)
	if errors.Is(err, core.ErrNotFound) {
		missing()
		return
	}
	if err != nil {
		h.unavailable(c, h.page(c, account), "logo not read", err)
		return
	}
	// A logo replaced a moment ago must not be kept for a year under the old name.
	if sum := sha256.Sum256(png); hex.EncodeToString(sum[:])+".png" == file {
		c.Header("Cache-Control", immutable)
	}
	c.Data(http.StatusOK, "image/png", png)
}

// readable moves a colour towards another until it has the contrast on every
// surface.
func readable(colour, towards string, least float64, surfaces ...string) string {
	for step := 0.0; step < 1; step += 1.0 / 32 {
		moved := blend(colour, towards, step)
		enough := true
		for _, surface := range surfaces {
			enough = enough && tenants.Contrast(moved, surface) >= least
		}
		if enough {
			return moved
		}
	}
	return towards
}

// blend gives a colour on the way from one to another, share from 0 to 1.
func blend(from, to string, share float64) string {
	a, b := channels(from), channels(to)
	var mixed [3]int
	for i := range mixed {
		mixed[i] = int(math.Round(a[i] + (b[i]-a[i])*share))
	}
	return fmt.Sprintf("#%02x%02x%02x", mixed[0], mixed[1], mixed[2])
}

// channels takes a colour of the form #rrggbb apart, 0 to 255 each.
func channels(colour string) [3]float64 {
	rgb, _ := strconv.ParseUint(colour[1:], 16, 32)
	return [3]float64{float64(rgb >> 16 & 0xff), float64(rgb >> 8 & 0xff), float64(rgb & 0xff)}
}
