package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image/png"

	"github.com/passmend/passmend/plugins/sdk"
)

// maxLogoBytes is the limit of what is stored (issue 2, point 8).
const maxLogoBytes = 100 << 10

// A logo is shown at most this large, in CSS pixels: it fits a screen of 320
// with the card's margins. Logos are stored at up to twice the size.
const (
	maxLogoWidth  = 200
	maxLogoHeight = 48
)

// logo is an image inside the mail. Width and Height are written out because some
// clients honour no maximum in a style.
type logo struct {
	ContentID     string
	Width, Height int
	inline        sdk.Inline
}

// newLogo gives nil for anything but a PNG of a sane size: a mail without its
// logo is better than no mail.
func newLogo(image []byte) *logo {
	if len(image) == 0 || len(image) > maxLogoBytes {
		return nil
	}
	header, err := png.DecodeConfig(bytes.NewReader(image))
	if err != nil || header.Width < 1 || header.Height < 1 || header.Width > 4096 || header.Height > 4096 {
		return nil
	}
	width, height := header.Width, header.Height
	if height > maxLogoHeight {
		width, height = max(width*maxLogoHeight/height, 1), maxLogoHeight
	}
	if width > maxLogoWidth {
		width, height = maxLogoWidth, max(height*maxLogoWidth/width, 1)
	}
	digest := sha256.Sum256(image)
	id := "logo." + hex.EncodeToString(digest[:8]) + "@passmend.invalid"
	return &logo{
		ContentID: id, Width: width, Height: height,
		inline: sdk.Inline{ContentID: id, ContentType: "image/png", Name: "logo.png", Bytes: image},
	}
}
