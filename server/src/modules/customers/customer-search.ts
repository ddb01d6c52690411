/** What a customer can be found by. */
export interface Searchable {
  id: string
  external_id: string | null
  email: string | null
  phone: string | null
  name: string | null
}

/** Bounds of the index: a hostile name cannot make a row with thousands of words. */
const WORDS_MAX = 60
const WORD_LENGTH_MAX = 64
/** Words of one question; the rest is not looked at. */
const QUESTION_WORDS_MAX = 8

/**
 * Splits at everything that is neither a letter nor a digit and lower-cases, so that `Ivan.Petrov@mail.ru`
 * is found by `petrov` and `+7 999` by `7 999`. The same on both sides, hence no language rules.
 */
export function searchWords(text: string): string[] {
  const words =
    text
      .normalize('NFC')
      .toLowerCase()
      .match(/[\p{L}\p{N}\p{M}]+/gu) ?? []
  return [...new Set(words.map((word) => word.slice(0, WORD_LENGTH_MAX).toWellFormed()))]
}

/** The words a customer is found by. Never empty: the id is always among them. */
export function customerWords(customer: Searchable): string[] {
  const { id, name, email, phone, external_id } = customer
  const texts = [id, name, email, phone, external_id].filter((text) => text !== null)
  return [...new Set(texts.flatMap((text) => searchWords(text)))].slice(0, WORDS_MAX)
}

/**
 * The words of a question, of which every one must begin some word of the customer.
 * Empty when the question has no letter and no digit; then nothing is found.
 */
export function questionWords(question: string): string[] {
  return searchWords(question).slice(0, QUESTION_WORDS_MAX)
}
