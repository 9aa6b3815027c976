//! Pictures that people upload: decoded and encoded anew, so that what is served is a plain PNG of ours, without what else was in the
//! file. A few bytes can unpack to gigabytes: the measures that the file claims are checked before anything is decoded.

use bifrost_domain::error::{Error, Kind, Result};
use bifrost_storage::accounts::Picture;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, metadata::Orientation};
use sha2::{Digest, Sha256};
use std::{borrow::Cow, io::Cursor, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// The largest file.
pub const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;
/// The longest side, pixels.
pub const MAX_SIDE: u32 = 4096;
/// What a decoder may take: 4096 × 4096 pixels of eight bytes, and as much again as work needs.
const MAX_DECODED_BYTES: u64 = 160 * 1024 * 1024;
/// Pictures at the same time: each may take twice that.
const AT_ONCE: usize = 1;
/// How long a picture waits for its turn before the server counts as overloaded.
const PATIENCE: Duration = Duration::from_secs(10);

/// The box that a picture is made to fit, in pixels. Smaller ones stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    /// Width at most.
    pub width: u32,
    /// Height at most.
    pub height: u32,
}

/// Makes pictures, one at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Images {
    turns: Arc<Semaphore>,
}

impl Default for Images {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Images {
    /// A picture out of a file that somebody sent, off the async threads.
    ///
    /// # Errors
    /// Too large; invalid under the path `file` when it is no PNG, JPEG or WebP, or is larger than 4096 × 4096; unavailable when there
    /// are too many at once.
    pub async fn picture(&self, file: Bytes, fit: Fit, now: DateTime<Utc>) -> Result<Picture> {
        if file.len() > MAX_FILE_BYTES {
            return Err(Error::new(
                Kind::TooLarge,
                format!("the picture is larger than {MAX_FILE_BYTES} bytes"),
            ));
        }
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned())
            .await
            .map_err(|_| Error::unavailable("too many pictures at the same time; try again in a moment"))?
            .map_err(Error::internal)?;
        let content = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            remake(&file, fit)
        })
        .await
        .map_err(Error::internal)??;
        let etag = Sha256::digest(&content).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Picture { content, etag, updated_at: now })
    }
}

fn refuse(code: &'static str, message: impl Into<String>) -> Error {
    Error::invalid("file", code, message)
}

fn damaged(error: image::ImageError) -> Error {
    refuse("damaged", "cannot be read as a picture; it may be damaged").with_source(error)
}

fn remake(file: &[u8], fit: Fit) -> Result<Vec<u8>> {
    let format = image::guess_format(file).ok();
    let format =
        format.filter(|format| matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP));
    let format = format.ok_or_else(|| refuse("format", "must be a PNG, JPEG or WebP picture"))?;
    let bare = if format == ImageFormat::Png { without_extras(file) } else { Cow::Borrowed(file) };
    let file = bare.as_ref();
    let (width, height) =
        ImageReader::with_format(Cursor::new(file), format).into_dimensions().map_err(damaged)?;
    if width > MAX_SIDE || height > MAX_SIDE || width == 0 || height == 0 {
        return Err(refuse("dimensions", format!("must be at most {MAX_SIDE} × {MAX_SIDE} pixels")));
    }
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    if decoder.total_bytes() > MAX_DECODED_BYTES {
        return Err(refuse("dimensions", "takes too much memory"));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    // Small before it is turned upright, so that there are never two large ones.
    let side = fit.width.max(fit.height);
    let mut image = shrunk(image, Fit { width: side, height: side });
    image.apply_orientation(orientation);
    let image = shrunk(image, fit);
    let mut content = Vec::new();
    DynamicImage::from(image.into_rgba8())
        .write_to(&mut Cursor::new(&mut content), ImageFormat::Png)
        .map_err(Error::internal)?;
    Ok(content)
}

/// A PNG with nothing but what its pixels need (critical chunks, transparency, and how it is turned; PNG 3rd edition, 5.6). Colour profiles and texts are
/// compressed: a small file could unpack to gigabytes, and none of it is in the picture that is made. What is no chunk stays, to be
/// refused by who decodes it.
fn without_extras(file: &[u8]) -> Cow<'_, [u8]> {
    const SIGNATURE: usize = 8;
    /// Length, type and checksum.
    const FRAME: usize = 12;
    let Some((signature, mut rest)) = file.split_at_checked(SIGNATURE) else { return Cow::Borrowed(file) };
    let mut bare = signature.to_vec();
    while let Some((length, name)) = rest.first_chunk::<8>().map(|head| head.split_at(4)) {
        let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        let needed = name[0].is_ascii_uppercase() || matches!(name, b"tRNS" | b"eXIf");
        let Some((chunk, after)) = rest.split_at_checked(length.saturating_add(FRAME)) else { break };
        if needed {
            bare.extend_from_slice(chunk);
        }
        rest = after;
    }
    bare.extend_from_slice(rest);
    Cow::Owned(bare)
}

fn shrunk(image: DynamicImage, fit: Fit) -> DynamicImage {
    if image.width() <= fit.width && image.height() <= fit.height {
        return image;
    }
    image.thumbnail(fit.width, fit.height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bifrost_domain::clock::{Clock, SystemClock};
    use image::{RgbImage, Rgba, RgbaImage};

    const FIT: Fit = Fit { width: 64, height: 32 };

    fn file(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        let image = match format {
            ImageFormat::Jpeg => DynamicImage::from(RgbImage::new(width, height)),
            _ => DynamicImage::from(RgbaImage::from_pixel(width, height, Rgba([1, 2, 3, 255]))),
        };
        image.write_to(&mut Cursor::new(&mut bytes), format).expect("encoded");
        bytes
    }

    fn measures(png: &[u8]) -> (u32, u32) {
        let reader = ImageReader::with_format(Cursor::new(png), ImageFormat::Png);
        reader.into_dimensions().expect("a PNG")
    }

    fn code(file: &[u8]) -> String {
        let error = remake(file, FIT).expect_err("refused");
        error.fields.first().expect("a field").code.clone().into_owned()
    }

    /// A PNG's head that claims these measures, with nothing behind it.
    fn bomb(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = file(1, 1, ImageFormat::Png);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
            })
        })
    }

    #[test]
    fn every_format_becomes_a_png_that_fits() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            for (width, height, expected) in
                [(640, 320, (64, 32)), (320, 320, (32, 32)), (16, 8, (16, 8)), (1, 1, (1, 1))]
            {
                let png = remake(&file(width, height, format), FIT).expect("made");
                assert_eq!(measures(&png), expected, "{format:?} {width} × {height}");
            }
        }
    }

    #[test]
    fn the_measures_are_checked_before_anything_is_decoded() {
        assert_eq!(code(&bomb(4097, 1)), "dimensions");
        assert_eq!(code(&bomb(1, 4097)), "dimensions");
        assert_eq!(code(&bomb(u32::from(u16::MAX), u32::from(u16::MAX))), "dimensions");
        assert_eq!(code(&bomb(4096, 4096)), "damaged", "within the bounds, and nothing behind the head");
        let widest = remake(&file(4096, 2, ImageFormat::Png), FIT).expect("at the bound");
        assert_eq!(measures(&widest), (64, 1));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let svg = b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>";
        let gif = b"GIF89a\x01\x00\x01\x00\x00\x00\x00;";
        for (text, expected) in [(&b""[..], "format"), (b"text", "format"), (svg, "format"), (gif, "format")]
        {
            assert_eq!(code(text), expected);
        }
        let png = file(8, 8, ImageFormat::Png);
        assert_eq!(code(&png[..png.len() / 2]), "damaged");
    }

    #[test]
    fn what_else_is_in_a_file_does_not_get_through() {
        let mut jpeg = file(8, 8, ImageFormat::Jpeg);
        jpeg.extend_from_slice(b"<script>alert(1)</script>");
        let png = remake(&jpeg, FIT).expect("made");
        assert!(!png.windows(8).any(|part| part == b"<script>"));
    }

    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let named = [name, content].concat();
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        [&length, &*named, &crc32(&named).to_be_bytes()].concat()
    }

    #[test]
    fn what_could_unpack_to_gigabytes_is_not_unpacked() {
        let plain = file(8, 8, ImageFormat::Png);
        let (head, body) = plain.split_at(33);
        let extras =
            [chunk(b"iCCP", b"x\0\0packed"), chunk(b"zTXt", b"packed"), chunk(b"iTXt", b"packed")].concat();
        let with = [head, &extras, body].concat();
        assert_eq!(without_extras(&with), plain);
        assert_eq!(without_extras(&plain), plain);
        assert_eq!(remake(&with, FIT).expect("made"), remake(&plain, FIT).expect("made"));
        let transparent = [head, &chunk(b"tRNS", b"x"), &chunk(b"eXIf", b"x"), body].concat();
        assert_eq!(without_extras(&transparent), transparent);
        // A length that the file does not have, and no signature: left to the decoder.
        for odd in [&with[..40], &plain[..20], b"\x89PNG", b""] {
            assert_eq!(without_extras(odd), odd);
        }
    }

    #[tokio::test]
    async fn the_size_of_the_file_is_bounded() {
        let images = Images::default();
        let now = SystemClock.now();
        let large = Bytes::from(vec![0; MAX_FILE_BYTES + 1]);
        let error = images.picture(large, FIT, now).await.expect_err("too large");
        assert_eq!(error.kind, Kind::TooLarge);
        let mut at_the_bound = file(8, 8, ImageFormat::Png);
        at_the_bound.resize(MAX_FILE_BYTES, 0);
        let picture = images.picture(at_the_bound.into(), FIT, now).await.expect("made");
        assert_eq!(picture.etag.len(), 32);
    }
}
