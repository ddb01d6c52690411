const GRAPHEMES = new Intl.Segmenter('en', { granularity: 'grapheme' })

/**
 * Cuts a text to `length_max` UTF-16 units, the last one an ellipsis; never in the middle of a letter or an emoji.
 * For vendors that refuse a description that is too long, whichever way they count.
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
