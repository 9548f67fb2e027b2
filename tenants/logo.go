package tenants

import (
	"bytes"
	"errors"
	"image/png"
)

// Limits of a logo. The pixels are bounded because a small file can unfold into
// a large picture in everybody's browser.
const (
	MaxLogoBytes  = 100 << 10
	maxLogoPixels = 2048 // either side
)

// ErrLogo is the answer for what is not a usable logo.
var ErrLogo = errors.New("must be a PNG file of at most 100 KiB and 2048 by 2048 pixels")

// NormaliseLogo decodes a PNG and encodes it anew, so that nothing but the
// picture is kept: no text, no trailing bytes. ErrLogo.
func NormaliseLogo(raw []byte) ([]byte, error) {
	if len(raw) > MaxLogoBytes {
		return nil, ErrLogo
	}
	header, err := png.DecodeConfig(bytes.NewReader(raw))
	if err != nil || header.Width > maxLogoPixels || header.Height > maxLogoPixels {
		return nil, ErrLogo
	}
	picture, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, ErrLogo
	}
	var encoded bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&encoded, picture); err != nil {
		return nil, ErrLogo
	}
	// An optimised file can grow; the picture was accepted all the same, unless it
	// is now beyond what a mail should carry.
	if encoded.Len() > 2*MaxLogoBytes {
		return nil, ErrLogo
	}
	return encoded.Bytes(), nil
}
