/** Every route that lets in whoever comes, or asks for a proof of its own instead of a name; and why. */
export const OPEN: Readonly<Record<string, string>> = {}
