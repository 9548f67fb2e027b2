package tenants

import (
	"math"
	"strconv"
)

// contrastWithWhite gives the contrast ratio, 1 to 21, of white text on a colour
// of the form #rrggbb (WCAG 2.2, definition of contrast ratio).
func contrastWithWhite(accent string) float64 {
	return 1.05 / (luminance(accent) + 0.05)
}

func luminance(accent string) float64 {
	rgb, _ := strconv.ParseUint(accent[1:], 16, 32)
	linear := func(channel uint64) float64 {
		c := float64(channel&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(rgb>>16) + 0.7152*linear(rgb>>8) + 0.0722*linear(rgb)
}
