/** Prints every violation of the house rules: `node scripts/check/architecture.ts [rule…]`. */
import { EXCEPTIONS } from '../../server/test/exceptions.ts'
import { repositoryFiles } from '../../server/test/repository-files.ts'
import { applyExceptions, report, RULES } from '../../server/test/rules.ts'

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !RULES.some((rule) => rule.name === name))
if (unknown.length > 0) {
  console.error(`no rule is called ${unknown.join(', ')}; known: ${RULES.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
const files = repositoryFiles()
const rules = RULES.filter((rule) => asked.length === 0 || asked.includes(rule.name))
const exceptions = EXCEPTIONS.filter((exception) => rules.some((rule) => rule.name === exception.rule))
const { left, stale } = applyExceptions(
  rules.flatMap((rule) => rule.find(files)),
  exceptions,
)
for (const line of report(left)) console.log(line)
for (const { path, rule } of stale)
  console.log(`${path} ${rule}: the exception no longer applies; take it off the list`)
console.log(`${rules.length} rules, ${files.length} files, ${left.length + stale.length} violations`)
process.exitCode = left.length + stale.length > 0 ? 1 : 0
