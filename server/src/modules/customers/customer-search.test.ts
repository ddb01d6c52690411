import { describe, expect, test } from 'vitest'
import { customerWords, questionWords, searchWords } from './customer-search.ts'

describe('search words', () => {
  test('are lower-cased letters and digits of any alphabet, each once', () => {
    expect(searchWords('Иван  ПЕТРОВ-Водкин, иван!')).toEqual(['иван', 'петров', 'водкин'])
    expect(searchWords('Ivan.Petrov@mail.ru')).toEqual(['ivan', 'petrov', 'mail', 'ru'])
  })

  test('are the same for composed and decomposed letters', () => {
    expect(searchWords('Йод')).toEqual(searchWords('Йод'.normalize('NFD')))
  })

  test('never hold a quote, an operator or a backslash', () => {
    expect(searchWords(String.raw`a'b:*&|!()<->\c`)).toEqual(['a', 'b', 'c'])
  })

  test('are bounded for a customer whose name is hostile', () => {
    const name = Array.from({ length: 500 }, (_, index) => `w${index}`).join(' ')
    const words = customerWords({ id: 'cus_x', name, email: null, phone: null, external_id: null })
    expect(words).toHaveLength(60)
    expect(words.slice(0, 2)).toEqual(['cus', 'x'])
    expect(searchWords('a'.repeat(5000))).toEqual(['a'.repeat(64)])
  })

  test('of a question are at most eight, and none when it has no letter and no digit', () => {
    expect(questionWords('1 2 3 4 5 6 7 8 9')).toHaveLength(8)
    expect(questionWords(' —!? ')).toEqual([])
  })
})
