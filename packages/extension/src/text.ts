const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' })

/**
 * Cuts a text to `length_max` UTF-16 units, the last one an ellipsis; never in the middle of a letter or an
 * emoji. For vendors that refuse a description that is too long, whichever way they count.
 */
export function clipText(text: string, length_max: number): string {
  if (text.length <= length_max) return text
  let clipped = ''
  for (const { segment } of GRAPHEMES.segment(text)) {
    if (clipped.length + segment.length > length_max - 1) break
    clipped += segment
  }
  return `${clipped.trimEnd()}…`
}

/**
 * Blots out secrets that a vendor's words quote back, also in base64, hexadecimal and URL encoding. Pass what
 * a header was made of as well, e.g. `shop:key`: its encoding shares no letters with that of the key alone.
 */
export function hideSecrets(text: string, secrets: readonly string[]): string {
  let hidden = text
  for (const secret of secrets.filter((one) => one !== '')) {
    const bytes = Buffer.from(secret, 'utf8')
    const encodings = (['base64', 'base64url', 'hex'] as const).map((encoding) => bytes.toString(encoding))
    const unpadded = encodings.map((form) => form.replace(/=+$/, ''))
    for (const form of [secret, encodeURIComponent(secret), ...encodings, ...unpadded]) {
      hidden = hidden.replaceAll(form, '***')
    }
  }
  return hidden
}
