/**
 * Cuts a text to `characters_max` characters, the last one an ellipsis; never in the middle of a character.
 * For vendors that refuse a description that is too long.
 */
export function clipText(text: string, characters_max: number): string {
  const characters = [...text]
  if (characters.length <= characters_max) return text
  return `${characters
    .slice(0, characters_max - 1)
    .join('')
    .trimEnd()}…`
}
