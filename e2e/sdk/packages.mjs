// pusher-js for files outside this folder: packages are looked up beside the file that imports them.
export { default } from 'pusher-js';
