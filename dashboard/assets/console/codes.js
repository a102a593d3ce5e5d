/** The codes that `/e/{code}` explains; a test holds this list to the pages. */
export const EXPLAINED = new Set([
  '1006', '1008', '1009', '1011',
  '4000', '4001', '4003', '4004', '4005', '4006', '4007', '4008', '4009', '4100', '4200', '4201', '4202', '4301', '4302',
  '400', '401', '403', '404', '413', '429', '503',
]);

/**
 * The address of the page that explains a row's code or status, if there is one. The status of a webhook is the customer's
 * own server's, which we can't explain.
 * @param {import('./kinds.js').Row} row @param {'code' | 'status'} field @returns {string | undefined}
 */
export function explanation(row, field) {
  const value = String(row[field]);
  if (row.kind.startsWith('webhook_') || !EXPLAINED.has(value) || (field === 'status') !== (value.length === 3)) return undefined;
  return `/e/${value}`;
}
