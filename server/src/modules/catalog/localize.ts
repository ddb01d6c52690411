/** Texts by language tag: `{ ru: '…', 'en-GB': '…' }`. */
export type Texts = Readonly<Record<string, string>>

/**
 * The text for a locale: the tag itself, then its shorter forms (`zh-Hant-TW`, `zh-Hant`, `zh`), then the
 * fallback. Letter case does not matter.
 */
export function localize<Fallback extends string | null>(
  texts: Texts,
  fallback: Fallback,
  locale: string | undefined,
): string | Fallback {
  if (locale === undefined) return fallback
  const by_tag = new Map(Object.entries(texts).map(([tag, text]) => [tag.toLowerCase(), text]))
  const parts = locale.toLowerCase().split('-')
  for (let length = parts.length; length > 0; length--) {
    const text = by_tag.get(parts.slice(0, length).join('-'))
    if (text !== undefined) return text
  }
  return fallback
}
