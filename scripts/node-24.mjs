// Stops politely on a Node that cannot run the TypeScript of this repository. Plain JavaScript, because an older
// Node would not even read a .ts file. npm puts the Node 24 that is among the dependencies first; it is missing
// where it was not published for the system (macOS) or where optional dependencies were left out.
const major = Number(process.versions.node.split('.', 1)[0])
if (major < 24) {
  console.error(
    [
      `Kopilka runs on Node 24 or newer; this is Node ${process.versions.node}, and no newer one is among the packages.`,
      'Linux and Windows: run `npm ci` without --omit=optional, then use the npm commands (npm test, npm start).',
      'macOS: install Node 24 (https://nodejs.org), then try again.',
    ].join('\n'),
  )
  process.exit(1)
}
