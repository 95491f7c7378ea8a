export const reportHtml = (..._a: unknown[]): string => ''
