/** What the page uses of Preact and htm; the only file that names the vendored one. */
export {
  html, render, useEffect, useLayoutEffect, useMemo, useRef, useState,
} from '../vendor/preact.js';
